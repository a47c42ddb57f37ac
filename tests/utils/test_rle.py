import re

import numpy as np
import pytest

from msgformer.utils.rle import decode_mask, encode_masks, run_lengths, segmentation_problem


def random_masks():
    return np.random.default_rng(0).random((3, 40, 25)) < 0.4


def test_masks_survive_compression():
    masks = random_masks()
    for mask, rle in zip(masks, encode_masks(masks), strict=True):
        assert rle["size"] == [40, 25]
        assert isinstance(rle["counts"], str)
        np.testing.assert_array_equal(decode_mask(rle, 40, 25), mask)


def test_runs_are_counted_column_by_column():
    """Compare with a count made by hand, and with the output of COCO's tools."""
    mask = np.zeros((1, 4, 3), bool)
    mask[0, 1:3, 1] = True  # one column of 4, one pixel, two pixels, and the rest
    (rle,) = encode_masks(mask)
    assert run_lengths(rle["counts"]) == [5, 2, 5]
    np.testing.assert_array_equal(decode_mask({"size": [4, 3], "counts": [5, 2, 5]}, 4, 3), mask[0])
    for mask, rle in zip(random_masks(), encode_masks(random_masks()), strict=True):
        changes = np.flatnonzero(np.diff(mask.T.ravel())) + 1
        ends = [*([0] if mask[0, 0] else []), *changes.tolist(), mask.size]
        assert run_lengths(rle["counts"]) == np.diff([0, *ends]).tolist()


def test_polygons_are_cut_at_the_image_and_joined():
    square, outside = [2, 2, 2, 6, 6, 6, 6, 2], [8, 8, 8, 99, 99, 99, 99, 8]
    mask = decode_mask([square, outside, [1, 1, 2, 2]], 10, 12)  # two points are no polygon
    assert mask[2:6, 2:6].all()
    assert mask[8:, 8:].all()
    assert mask.sum() == 16 + 8


@pytest.mark.parametrize(
    ("segmentation", "problem"),
    [
        ([[1, 1, 5, 1, 5, 5]], None),
        ({"size": [10, 12], "counts": [100, 20]}, None),
        ([], "no polygon of at least 3 points"),
        ([[1, 1, 5, 5]], "no polygon of at least 3 points"),
        ([[1, 1, 5, 1, 5, "x"]], "no polygon of at least 3 points"),
        ("mask.png", "neither a list of polygons nor an RLE"),
        ({"counts": [120]}, "neither a list of polygons nor an RLE"),
        ({"size": [12, 10], "counts": [120]}, r"RLE of size \[12, 10\], but the image is \[10, 12\]"),
        ({"size": [10, 12], "counts": [100, 19]}, "RLE of 119 pixels, but the image has 10 x 12 = 120"),
        ({"size": [10, 12], "counts": [140, -20]}, "RLE of 120 pixels"),
        ({"size": [10, 12], "counts": "T3d"}, "counts can't be read"),
        ({"size": [10, 12], "counts": [None]}, "counts can't be read"),
        ({"size": [10, 12], "counts": [60.5, 59.5]}, "counts can't be read"),
        ({"size": [10, 12], "counts": [float("inf")]}, "counts can't be read"),
        ({"size": None, "counts": [120]}, r"RLE of size None, but the image is \[10, 12\]"),
        ({"size": [10, 12], "counts": []}, "RLE of 0 pixels"),
    ],
)
def test_invalid_masks_are_refused(segmentation, problem):
    found = segmentation_problem(segmentation, 10, 12)
    if problem is None:
        assert found is None
    else:
        assert re.search(problem, found)

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msgformer.data.segmentation.label_maps import LabeledImages
from msgformer.data.segmentation.label_scheme import LabelScheme
from msgformer.data.segmentation.label_statistics import LabelStatistics, holds_binary_maps


def problems(numbers, classes=("floor", "cat"), **scheme):
    """Return the severity, kind and message of each problem of maps with these numbers of pixels."""
    made = LabelScheme.from_classes(classes, reduce_zero=scheme.pop("reduce_zero", False))
    if "label_map" in scheme:
        made = LabelScheme.from_label_map(scheme["label_map"])
    statistics = LabelStatistics(LabeledImages(Path("/data"), [("/data/a.jpg", "/data/maps/a.png")], made))
    statistics.add(numbers)
    return [(one.severity, one.kind, one.message) for one in statistics.problems()]


@pytest.mark.parametrize("reduce_zero", [False, True])
def test_binary_masks_get_the_remedy(reduce_zero):
    ((severity, kind, message),) = problems({0: 90, 255: 10}, reduce_zero=reduce_zero)
    assert (severity, kind) == ("error", "labels 0 and 255")
    assert message.endswith("pass --segment_images.label_map '{0: floor, 255: cat}'")
    assert "{0: background, 255: object}" in problems({0: 90, 255: 10}, ("a", "b", "c"))[0][2]


def test_an_explicit_255_is_a_class():
    assert problems({0: 90, 255: 10}, label_map={0: "floor", 255: "cat"}) == []


def test_maps_without_a_labeled_pixel_are_refused():
    assert [one[:2] for one in problems({255: 10})] == [("error", "no labeled pixel")]
    assert [one[:2] for one in problems({0: 10}, reduce_zero=True)] == [("error", "no labeled pixel")]


def test_classes_without_pixels_and_ignored_pixels_are_warned_of():
    assert problems({0: 50, 1: 50}) == []
    (first,) = problems({1: 50})
    assert first == (
        "warning",
        "classes without pixels",
        "no pixel has class 'floor'; if labels count from 1, each has the name of the class before it",
    )
    assert problems({0: 9}, ("a", "b", "c", "d", "e"))[0][2] == "no pixel has class 'b', 'c', 'd' and 1 more"
    assert problems({0: 2, 1: 2, 255: 5})[0][2] == "56% of the pixels are ignored, and neither trained on nor scored"


def test_255_beside_a_single_other_label_gets_the_remedy():
    ((severity, _, message),) = problems({1: 90, 255: 10})
    assert severity == "error"
    assert message.endswith("pass --segment_images.label_map '{1: floor, 255: cat}'")


@pytest.mark.parametrize(("second", "expected"), [([0, 255], True), ([0, 1], False), ([0, 0], True)])
def test_binary_maps_are_found_over_all_maps(second, expected, tmp_path):
    paths = []
    for number, labels in enumerate(([0, 255], second)):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.array([labels], np.uint8)).save(paths[-1])
    scheme = LabelScheme.from_classes(("floor", "cat"), reduce_zero=False)
    assert holds_binary_maps(LabeledImages(tmp_path, [(path, path) for path in paths], scheme)) is expected

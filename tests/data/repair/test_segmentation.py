from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from data.dense_folders import write_ade20k, write_cityscapes
from msgformer.data.repair.segmentation import repair_segmentation
from msgformer.data.segmentation.sets import open_segmentation
from msgformer.data.survey import survey_segmentation
from msgformer.errors import UserError


@contextmanager
def no_progress(total):
    yield lambda: None


def repair(data, output, *, reduce_zero=True):
    problems = survey_segmentation(str(data), no_progress, reduce_zero=reduce_zero).problems
    return repair_segmentation(str(data), problems, output, reduce_zero=reduce_zero)


def labels(data, reduce_zero):
    return [found.labels(index) for found in open_segmentation(data, reduce_zero) for index in range(len(found))]


def test_labels_are_class_indices(tmp_path):
    """Labels that count from 1 are read without an option in the copy."""
    root = write_ade20k(tmp_path / "data")
    found = repair(root, tmp_path / "copy")
    assert found.images == {"train": 3, "val": 3}
    assert found.changes == ["6 label maps written as gray PNG files of class indices"]
    for before, after in zip(labels(root, reduce_zero=True), labels(tmp_path / "copy", "auto"), strict=True):
        assert np.array_equal(before, after)
    with Image.open(tmp_path / "copy/annotations/training/0.png") as image:
        assert (image.mode, {*np.unique(image).tolist()}) == ("L", {0, 1, 2, 255})


def test_right_label_maps_are_linked(tmp_path):
    root = write_ade20k(tmp_path / "data", ("none", "wall", "sky", "tree"))
    found = repair(root, tmp_path / "copy", reduce_zero=False)
    assert found.changes == []
    assert (tmp_path / "copy/annotations/training/0.png").samefile(root / "annotations/training/0.png")


@pytest.mark.parametrize("mode", ["RGB", "P", "I;16"])
def test_other_kinds_of_label_maps_become_gray(mode, tmp_path):
    root = write_ade20k(tmp_path / "data", ("none", "wall", "sky", "tree"))
    expected = labels(root, reduce_zero=False)
    for path in root.glob("annotations/*/*.png"):
        with Image.open(path) as image:
            numbers = np.asarray(image)
        if mode == "I;16":
            Image.fromarray(numbers.astype(np.uint16)).save(path)
        else:
            Image.fromarray(numbers).convert(mode).save(path)
    found = repair(root, tmp_path / "copy", reduce_zero=False)
    assert found.changes == ["6 label maps written as gray PNG files of class indices"]
    for before, path in zip(expected, sorted((tmp_path / "copy").glob("annotations/*/*.png")), strict=True):
        with Image.open(path) as image:
            assert image.mode == "L"
            assert np.array_equal(image, before)


def test_cityscapes_becomes_ade20k(tmp_path):
    root = write_cityscapes(tmp_path / "data")
    repair(root, tmp_path / "copy", reduce_zero="auto")
    for before, after in zip(labels(root, "auto"), labels(tmp_path / "copy", "auto"), strict=True):
        assert np.array_equal(before, after)


def test_damaged_and_single_files_are_left_out(tmp_path):
    root = write_ade20k(tmp_path / "data")
    (root / "annotations/training/0.png").write_bytes(b"no image")
    (root / "annotations/validation/0.png").unlink()
    (root / "images/validation/1.jpg").unlink()
    found = repair(root, tmp_path / "copy")
    assert found.images == {"train": 2, "val": 1}
    assert found.left_out == [
        str(root / name)
        for name in ("annotations/training/0.png", "annotations/validation/1.png", "images/validation/0.jpg")
    ]


def test_colors_are_refused(tmp_path):
    """Such a file is not damaged, and leaving it out would lose it."""
    root = write_ade20k(tmp_path / "data")
    Image.new("RGB", (40, 30), (128, 0, 0)).save(root / "annotations/training/0.png")
    with pytest.raises(UserError, match=r"^fix: not repairable .*0\.png: is a color image"):
        repair(root, tmp_path / "copy")

from pathlib import Path

import numpy as np
import pytest

from data.dense_folders import quarters, write_ade20k, write_cityscapes
from msgformer.config.dense_data_options import LabelOptions
from msgformer.data.segmentation.sets import (
    FOLDER_PAIRS,
    open_segmentation,
    read_subset,
    resolve_reduce_zero,
)
from msgformer.errors import UserError


def test_ade20k_labels_count_from_one(tmp_path):
    train, val = open_segmentation(write_ade20k(tmp_path), LabelOptions(True))
    assert train.classes == val.classes == ("wall", "sky", "tree")
    assert [train.name(0), val.name(2)] == ["images/training/0.jpg", "images/validation/2.jpg"]
    expected = quarters(40, 30).astype(int) - 1
    np.testing.assert_array_equal(train.labels(0), np.where(expected < 0, 255, expected))
    assert train.target(0, train.load(0).size).shape == (30, 40)


def write_ade20k_table(root, count):
    rows = [f"{number}\t0.1\t9\t9\t1\tclass {number}" for number in range(1, count + 1)]
    (root / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tStuff\tName", *rows]))
    return root


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (write_ade20k, False),
        (lambda root: write_ade20k_table(write_ade20k(root, None), 150), True),
        (lambda root: write_ade20k_table(write_ade20k(root, None), 149), False),
        (lambda root: write_ade20k_table(write_ade20k(root), 150), False),
        (write_cityscapes, False),
    ],
)
def test_only_ade20k_itself_reduces_zero_by_default(write, expected, tmp_path):
    root = write(tmp_path)
    assert resolve_reduce_zero(root, LabelOptions()) is expected
    assert [resolve_reduce_zero(root, LabelOptions(asked)) for asked in (True, False)] == [True, False]


@pytest.mark.parametrize("content", ["true", "false"])
def test_labels_json_sets_the_numbering(content, tmp_path):
    (write_ade20k(tmp_path) / "labels.json").write_text(f'{{"reduce_zero_label": {content}}}')
    assert resolve_reduce_zero(tmp_path, LabelOptions()) is (content == "true")
    assert resolve_reduce_zero(tmp_path, LabelOptions(content != "true")) is (content != "true")


@pytest.mark.parametrize("content", ["{", "[]", '{"reduce_zero_label": 1}', '{"reduce_zero_label": true, "more": 1}'])
def test_an_invalid_labels_json_is_refused(content, tmp_path):
    (write_ade20k(tmp_path) / "labels.json").write_text(content)
    with pytest.raises(UserError, match=r"labels\.json .*correct or remove it"):
        open_segmentation(tmp_path, LabelOptions())


def test_other_values_are_refused(tmp_path):
    with pytest.raises(UserError, match="must be true, false or auto, not 'yes'"):
        resolve_reduce_zero(write_ade20k(tmp_path), LabelOptions("yes"))


def test_images_and_maps_come_in_pairs(tmp_path):
    write_ade20k(tmp_path)
    (tmp_path / "annotations/training/0.png").rename(tmp_path / "annotations/training/9.png")
    problems = read_subset(tmp_path, "train", LabelOptions(True))[1]
    assert [problem.kind for problem in problems] == ["image without label map", "label map without image"]
    with pytest.raises(UserError, match=r"0\.jpg: no label map for it in .*\(1 more"):
        open_segmentation(tmp_path, LabelOptions(True))
    write_cityscapes(tmp_path / "city")
    (tmp_path / "city/gtFine/val/ulm/ulm_1_gtFine_labelIds.png").unlink()
    with pytest.raises(UserError, match=r"ulm_1_leftImg8bit\.png: no label map"):
        open_segmentation(tmp_path / "city", LabelOptions(True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root.mkdir(), "no train images and label maps: it must be laid out as ADE20K"),
        (lambda root: write_ade20k(root, None), "has no classes.txt"),
        (lambda root: write_ade20k(root, ("all",)), "names 1 class"),
        (lambda root: [p.unlink() for p in write_ade20k(root).glob("*/training/*")], "no images in this folder"),
    ],
)
def test_other_layouts_are_named(make, message, tmp_path):
    make(tmp_path / "data")
    with pytest.raises(UserError, match=message):
        open_segmentation(tmp_path / "data", LabelOptions(True))


@pytest.mark.parametrize(("images", "maps"), FOLDER_PAIRS)
def test_folders_of_other_tools_are_read(tmp_path, images, maps):
    write_ade20k(tmp_path)
    (tmp_path / "annotations").rename(tmp_path / "maps")
    (tmp_path / "images").rename(tmp_path / images)
    (tmp_path / "maps").rename(tmp_path / maps)
    train, val = open_segmentation(tmp_path, LabelOptions(True))
    assert (len(train), len(val)) == (3, 3)
    assert train.pairs[0] == (str(tmp_path / images / "training/0.jpg"), str(tmp_path / maps / "training/0.png"))


@pytest.mark.parametrize("ending", ["_mask", "_label", "-seg"])
def test_names_of_label_maps_may_have_an_ending(tmp_path, ending):
    write_ade20k(tmp_path)
    path = tmp_path / "annotations" / "training" / "1.png"
    path.rename(path.with_name(f"1{ending}.png"))
    train, _ = open_segmentation(tmp_path, LabelOptions(True))
    assert [Path(one).name for _, one in train.pairs] == ["0.png", f"1{ending}.png", "2.png"]


def test_a_doubled_class_name_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"classes\.txt names the class 'wall' twice, as classes 1 and 3; rename one"):
        open_segmentation(write_ade20k(tmp_path, ("wall", "sky", "wall")), LabelOptions(True))

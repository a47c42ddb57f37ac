import numpy as np
import pytest
from PIL import Image

from data.dense_folders import quarters, write_ade20k, write_cityscapes
from msgformer.data.cityscapes import CLASSES
from msgformer.data.segmentation_sets import open_segmentation, read_classes, read_subset
from msgformer.errors import UserError


def test_ade20k_labels_count_from_one(tmp_path):
    train, val = open_segmentation(write_ade20k(tmp_path), reduce_zero=True)
    assert train.classes == val.classes == ("wall", "sky", "tree")
    assert [train.name(0), val.name(2)] == ["images/training/0.jpg", "images/validation/2.jpg"]
    expected = quarters(40, 30).astype(int) - 1
    np.testing.assert_array_equal(train.labels(0), np.where(expected < 0, 255, expected))
    assert train.target(0, train.load(0).size).shape == (30, 40)


def test_labels_may_count_from_zero_and_leave_pixels_out(tmp_path):
    write_ade20k(tmp_path, ("sea", "wall", "sky", "tree"))
    labels = quarters(40, 30)
    labels[0] = 255
    Image.fromarray(labels).save(tmp_path / "annotations/training/0.png")
    train, _ = open_segmentation(tmp_path, reduce_zero=False)
    np.testing.assert_array_equal(train.labels(0), labels)


@pytest.mark.parametrize("kind", ["labelIds", "labelTrainIds"])
def test_cityscapes_labels_are_those_that_are_scored(kind, tmp_path):
    train, val = open_segmentation(write_cityscapes(tmp_path, kind), reduce_zero=True)
    assert len(val) == 3
    assert train.classes == tuple(CLASSES.values())
    assert len(train.classes) == 19
    expected = np.array([0, 1, 255, 255])[quarters(40, 30)]
    np.testing.assert_array_equal(train.labels(0), expected)
    assert train.name(0) == "leftImg8bit/train/ulm/ulm_0_leftImg8bit.png"


def test_palette_and_wide_maps_are_read(tmp_path):
    write_ade20k(tmp_path)
    labels = quarters(40, 30)
    image = Image.fromarray(labels)
    image.putpalette(list(range(256)) * 3)
    image.save(tmp_path / "annotations/training/0.png")
    Image.fromarray(quarters(30, 40).astype(np.uint16)).save(tmp_path / "annotations/training/1.png")
    train, _ = open_segmentation(tmp_path, reduce_zero=True)
    assert train.labels(0).max() == train.labels(1).max() == 255
    assert (train.labels(0) == 2).sum() == 300


def test_ade20ks_own_table_names_the_classes(tmp_path):
    text = "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1\t9\t9\t1\twall\n2\t0.1\t9\t9\t1\tbuilding, edifice\n"
    (tmp_path / "objectInfo150.txt").write_text(text)
    assert read_classes(tmp_path) == ["wall", "building"]


SPOILT = [
    (lambda maps: Image.fromarray(quarters(40, 30) + 5).save(maps / "0.png"), "label 5 and 3 other numbers is of none"),
    (lambda maps: Image.fromarray(quarters(30, 40)).save(maps / "0.png"), "30 x 40 pixels, but .* has 40 x 30"),
    (lambda maps: Image.new("RGB", (40, 30)).save(maps / "0.png"), "is an image in RGB; a label map has one number"),
    (lambda maps: Image.new("I;16", (40, 30), 999).save(maps / "0.png"), "label 999 is above 255"),
    (lambda maps: (maps / "0.png").write_text("labels"), "can't read image .*0.png"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT)
def test_maps_that_cannot_be_used_are_named(spoil, message, tmp_path):
    spoil(write_ade20k(tmp_path) / "annotations/training")
    train, _ = open_segmentation(tmp_path, reduce_zero=True)
    with pytest.raises(UserError, match=message):
        train.target(0, (40, 30))


def test_images_and_maps_come_in_pairs(tmp_path):
    write_ade20k(tmp_path)
    (tmp_path / "annotations/training/0.png").rename(tmp_path / "annotations/training/9.png")
    problems = read_subset(tmp_path, "train", True)[1]
    assert [problem.kind for problem in problems] == ["image without label map", "label map without image"]
    with pytest.raises(UserError, match=r"0\.jpg: no label map for it in .*\(1 more"):
        open_segmentation(tmp_path, True)
    write_cityscapes(tmp_path / "city")
    (tmp_path / "city/gtFine/val/ulm/ulm_1_gtFine_labelIds.png").unlink()
    with pytest.raises(UserError, match=r"ulm_1_leftImg8bit\.png: no label map"):
        open_segmentation(tmp_path / "city", True)


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
        open_segmentation(tmp_path / "data", True)

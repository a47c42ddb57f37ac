"""Label maps: numbering, formats, and labels that are refused."""

import numpy as np
import pytest
from PIL import Image

from data.dense_folders import quarters, write_ade20k
from msgformer.data.segmentation.label_maps import IGNORED, LabelScheme
from msgformer.data.segmentation.sets import open_segmentation
from msgformer.errors import UserError


def test_labels_may_count_from_zero_and_ignore_pixels(tmp_path):
    write_ade20k(tmp_path, ("sea", "wall", "sky", "tree"))
    labels = quarters(40, 30)
    labels[0] = 255
    Image.fromarray(labels).save(tmp_path / "annotations/training/0.png")
    train, _ = open_segmentation(tmp_path, reduce_zero=False)
    np.testing.assert_array_equal(train.labels(0), labels)


def test_valid_labels_are_unchanged(tmp_path):
    train, _ = open_segmentation(write_ade20k(tmp_path, ("sea", "wall", "sky", "tree")), "auto")
    np.testing.assert_array_equal(train.labels(0), quarters(40, 30))


def test_labels_that_count_from_one_are_refused_with_the_remedy(tmp_path):
    train, _ = open_segmentation(write_ade20k(tmp_path), "auto")
    message = (
        r"0\.png: label 3 of no class: this file holds labels 0 to 3, but the 3 classes have 0 to 2 \(255 is ignored\);"
        r" if labels count from 1 and 0 means no class, pass --segment_images\.reduce_zero_label true \(check-data:"
        r" --reduce_zero_label true\); otherwise correct the label map, or name every class in classes\.txt$"
    )
    with pytest.raises(UserError, match=message):
        train.labels(0)


@pytest.mark.parametrize("label", [4, 200])
def test_another_numbering_is_not_suggested_where_it_does_not_help(label, tmp_path):
    train, _ = open_segmentation(write_ade20k(tmp_path), "auto")
    Image.new("L", (40, 30), label).save(tmp_path / "annotations/training/0.png")
    with pytest.raises(UserError, match=rf"label {label} of no class.*; correct the label map, or name every class"):
        train.labels(0)


@pytest.mark.parametrize(("reduce_zero", "allowed"), [(False, 255), (True, 254)])
def test_more_classes_than_labels_are_refused(reduce_zero, allowed):
    names = [str(number) for number in range(allowed)]
    table = LabelScheme.from_classes(names, reduce_zero=reduce_zero).table()
    assert (table[254], table[255]) == (allowed - 1, IGNORED)
    with pytest.raises(UserError, match=f"{allowed + 1} classes are too many"):
        LabelScheme.from_classes([*names, "more"], reduce_zero=reduce_zero)


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


INVALID_MAPS = [
    (
        lambda maps: Image.fromarray(quarters(40, 30) + 5).save(maps / "0.png"),
        r"label 5 and 3 other labels of no class: this file holds labels 5 to 8, but the 3 classes have 1 to 3 \(255 is"
        r" ignored\); correct the label map, or name every class in classes\.txt$",
    ),
    (lambda maps: Image.fromarray(quarters(30, 40)).save(maps / "0.png"), "30 x 40 pixels, but .* has 40 x 30"),
    (
        lambda maps: Image.new("RGB", (40, 30), (128, 0, 0)).save(maps / "0.png"),
        r"is a color image, with \(128, 0, 0\), .*; a label map has one number per pixel: replace each color",
    ),
    (lambda maps: Image.new("LA", (40, 30)).save(maps / "0.png"), "is an image in LA; a label map has one number"),
    (
        lambda maps: Image.new("L", (40, 30)).save(maps / "0.png", "JPEG"),
        "is a JPEG, whose compression changes labels; save label maps as PNG",
    ),
    (lambda maps: Image.new("I;16", (40, 30), 999).save(maps / "0.png"), "labels range from 999 to 999"),
    (lambda maps: (maps / "0.png").write_text("labels"), "can't read image .*0.png"),
]


@pytest.mark.parametrize(("damage", "message"), INVALID_MAPS)
def test_invalid_maps_are_refused(damage, message, tmp_path):
    damage(write_ade20k(tmp_path) / "annotations/training")
    train, _ = open_segmentation(tmp_path, reduce_zero=True)
    with pytest.raises(UserError, match=message):
        train.target(0, (40, 30))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16"])
def test_equal_channels_and_16_bits_are_read(tmp_path, mode):
    write_ade20k(tmp_path, ("sea", "wall", "sky", "tree"))
    labels = quarters(40, 30)
    gray = Image.fromarray(labels)
    if mode == "I;16":
        labels[0] = 255
        Image.fromarray(np.where(labels == 255, 65535, labels).astype(np.uint16)).save(
            tmp_path / "annotations/training/0.png"
        )
    else:
        Image.merge("RGB", [gray] * 3).convert(mode).save(tmp_path / "annotations/training/0.png")
    np.testing.assert_array_equal(open_segmentation(tmp_path, "auto")[0].labels(0), labels)

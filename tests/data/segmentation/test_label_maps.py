"""Label maps: numbering, formats, and labels that are refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from data.dense_folders import quarters, write_ade20k
from msgformer.config.dense_data_options import LabelOptions
from msgformer.data.segmentation.sets import open_segmentation
from msgformer.errors import UserError


def test_labels_may_count_from_zero_and_ignore_pixels(tmp_path):
    write_ade20k(tmp_path, ("sea", "wall", "sky", "tree"))
    labels = quarters(40, 30)
    labels[0] = 255
    Image.fromarray(labels).save(tmp_path / "annotations/training/0.png")
    train, _ = open_segmentation(tmp_path, LabelOptions(False))
    np.testing.assert_array_equal(train.labels(0), labels)


def test_valid_labels_are_unchanged(tmp_path):
    train, _ = open_segmentation(write_ade20k(tmp_path, ("sea", "wall", "sky", "tree")), LabelOptions())
    np.testing.assert_array_equal(train.labels(0), quarters(40, 30))


def test_labels_that_count_from_one_are_refused_with_the_remedy(tmp_path):
    train, _ = open_segmentation(write_ade20k(tmp_path), LabelOptions())
    message = (
        r"0\.png: label 3 of no class: this file holds labels 0 to 3, but the 3 classes have 0 to 2 \(255 is ignored\);"
        r" if labels count from 1 and 0 means no class, pass --segment_images\.reduce_zero_label true;"
        r" otherwise correct the label map, or name every class in classes\.txt$"
    )
    with pytest.raises(UserError, match=message):
        train.labels(0)


@pytest.mark.parametrize("label", [4, 200])
def test_another_numbering_is_not_suggested_where_it_does_not_help(label, tmp_path):
    train, _ = open_segmentation(write_ade20k(tmp_path), LabelOptions())
    Image.new("L", (40, 30), label).save(tmp_path / "annotations/training/0.png")
    with pytest.raises(UserError, match=rf"label {label} of no class.*; correct the label map, or name every class"):
        train.labels(0)


def test_palette_and_wide_maps_are_read(tmp_path):
    write_ade20k(tmp_path)
    labels = quarters(40, 30)
    image = Image.fromarray(labels)
    image.putpalette(list(range(256)) * 3)
    image.save(tmp_path / "annotations/training/0.png")
    Image.fromarray(quarters(30, 40).astype(np.uint16)).save(tmp_path / "annotations/training/1.png")
    train, _ = open_segmentation(tmp_path, LabelOptions(True))
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
        r"0\.png has colors: \(128, 0, 0\) 100\.0%; give each its class, with --segment_images\.label_map"
        r" '{\"128, 0, 0\": CLASS1}'",
    ),
    (lambda maps: Image.new("LA", (40, 30)).save(maps / "0.png"), "is an image in LA; a label map has one number"),
    (
        lambda maps: Image.new("L", (40, 30)).save(maps / "0.png", "JPEG"),
        "is a JPEG, whose compression changes labels; save label maps as PNG",
    ),
    (lambda maps: Image.new("I;16", (40, 30), 999).save(maps / "0.png"), "label 999 of no class"),
    (lambda maps: (maps / "0.png").write_text("labels"), "can't read image .*0.png"),
]


@pytest.mark.parametrize(("damage", "message"), INVALID_MAPS)
def test_invalid_maps_are_refused(damage, message, tmp_path):
    damage(write_ade20k(tmp_path) / "annotations/training")
    train, _ = open_segmentation(tmp_path, LabelOptions(True))
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
    np.testing.assert_array_equal(open_segmentation(tmp_path, LabelOptions())[0].labels(0), labels)


def colored(labels, colors):
    """Return an RGB image of a label map."""
    return Image.fromarray(np.array(colors, np.uint8)[labels])


COLORS = [(0, 0, 0), (255, 255, 255), (0, 128, 0), (10, 20, 30)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "sea 0 0 0\nopen wall 255 255 255\nsky 0 128 0\ntree 10 20 30\n"),
        ("classes.txt", "sea: #000000\nopen wall: #ffffff\nsky: #008000\ntree: #0a141e\n"),
        ("class_dict.csv", "name,r,g,b\nsea,0,0,0\nopen wall,255,255,255\nsky,0,128,0\ntree,10,20,30\n"),
        ("label_colors.txt", "0 0 0\tsea\n255 255 255\topen wall\n0 128 0\tsky\n10 20 30\ttree\n"),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colors_of_classes(tmp_path, name, text, mode):
    write_ade20k(tmp_path, None)
    (tmp_path / name).write_text(text)
    image = colored(quarters(40, 30), COLORS)
    image = image.quantize() if mode == "P" else image.convert(mode)
    image.save(tmp_path / "annotations/training/0.png")
    train, _ = open_segmentation(tmp_path, LabelOptions())
    assert train.classes == ("sea", "open wall", "sky", "tree")
    np.testing.assert_array_equal(train.labels(0), quarters(40, 30))
    np.testing.assert_array_equal(train.labels(1), quarters(30, 40))  # a map of numbers


def test_colors_of_no_class_are_refused(tmp_path):
    write_ade20k(tmp_path, None)
    (tmp_path / "classes.txt").write_text("sea 0 0 0\nwall 255 255 255\n")
    colored(quarters(40, 30), COLORS).save(tmp_path / "annotations/training/0.png")
    train, _ = open_segmentation(tmp_path, LabelOptions())
    with pytest.raises(UserError, match=r"has colors that no class has: \(0, 128, 0\) 25\.0%, \(10, 20, 30\) 25"):
        train.labels(0)


@pytest.mark.parametrize(
    ("label_map", "classes", "expected"),
    [
        ({0: "sea", 1: "sky", 2: "sea", 3: "ignore"}, ("sea", "sky"), [0, 1, 0, 255]),
        ({"3": "a", "1": "b", "2": "b", "0": "ignore"}, ("a", "b"), [255, 1, 1, 0]),
    ],
)
def test_explicit_values(tmp_path, label_map, classes, expected):
    train, _ = open_segmentation(write_ade20k(tmp_path, None), LabelOptions(label_map=label_map))
    assert train.classes == classes
    np.testing.assert_array_equal(train.labels(0), np.array(expected)[quarters(40, 30)])


def test_explicit_colors_and_the_order_of_a_file(tmp_path):
    write_ade20k(tmp_path, ("tree", "sky", "sea"))
    colored(quarters(40, 30), COLORS).save(tmp_path / "annotations/training/0.png")
    label_map = {"0, 0, 0": "sea", "#FFFFFF": "ignore", "(0,128,0)": "sky", "10 20 30": "tree"}
    train, _ = open_segmentation(tmp_path, LabelOptions(label_map=label_map))
    np.testing.assert_array_equal(train.labels(0), np.array([2, 255, 1, 0])[quarters(40, 30)])


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        ({0: "sea", 1: "sky"}, "label 2 and 1 other labels of no class: segment_images.label_map has 0, 1; add it"),
        ({0: "sea", "#ffffff": "sky"}, "has pixel values and colors; give either"),
        ({0: "sea", 1: "sea", 2: "ignore"}, "names 1 class"),
        ({0: "sea", "one": "sky"}, "'one' is neither a pixel value in 0..65535 nor a color"),
        ({0: "sea", 70000: "sky"}, "70000 is neither"),
    ],
)
def test_unusable_label_maps_are_refused(tmp_path, label_map, message):
    write_ade20k(tmp_path, None)
    with pytest.raises(UserError, match=message):
        open_segmentation(tmp_path, LabelOptions(label_map=label_map))[0].labels(0)


def test_unknown_names_in_a_label_map_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"classes\.txt has no class 'sy'; did you mean 'sky'\?"):
        open_segmentation(write_ade20k(tmp_path), LabelOptions(label_map={0: "sy", 1: "wall"}))


def test_more_than_255_classes_need_16_bits(tmp_path):
    write_ade20k(tmp_path, tuple(f"class {number}" for number in range(300)))
    labels = quarters(40, 30).astype(np.uint16)
    labels[labels == 1], labels[labels == 2], labels[labels == 3] = 255, 299, 65535
    Image.fromarray(labels).save(tmp_path / "annotations/training/0.png")
    train, _ = open_segmentation(tmp_path, LabelOptions())
    np.testing.assert_array_equal(train.labels(0), labels)
    assert train.ignored == 65535
    assert train.target(0, (40, 30)).dtype == torch.int32

import numpy as np
import pytest
from PIL import Image

from data.dense_folders import quarters, write_ade20k, write_cityscapes
from msgformer.data.segmentation.cityscapes import CLASSES
from msgformer.data.segmentation.label_maps import IGNORED, LabelScheme
from msgformer.data.segmentation.sets import open_segmentation, read_classes, read_subset, resolve_reduce_zero
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
def test_cityscapes_keeps_the_evaluated_labels(kind, tmp_path):
    train, val = open_segmentation(write_cityscapes(tmp_path, kind), reduce_zero=True)
    assert len(val) == 3
    assert train.classes == tuple(CLASSES.values())
    assert len(train.classes) == 19
    expected = np.array([0, 1, 255, 255])[quarters(40, 30)]
    np.testing.assert_array_equal(train.labels(0), expected)
    assert train.name(0) == "leftImg8bit/train/ulm/ulm_0_leftImg8bit.png"


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
    assert resolve_reduce_zero(root, "auto") is expected
    assert [resolve_reduce_zero(root, asked) for asked in (True, False)] == [True, False]


@pytest.mark.parametrize("content", ["true", "false"])
def test_labels_json_sets_the_numbering(content, tmp_path):
    (write_ade20k(tmp_path) / "labels.json").write_text(f'{{"reduce_zero_label": {content}}}')
    assert resolve_reduce_zero(tmp_path, "auto") is (content == "true")
    assert resolve_reduce_zero(tmp_path, content != "true") is (content != "true")


@pytest.mark.parametrize("content", ["{", "[]", '{"reduce_zero_label": 1}', '{"reduce_zero_label": true, "more": 1}'])
def test_an_invalid_labels_json_is_refused(content, tmp_path):
    (write_ade20k(tmp_path) / "labels.json").write_text(content)
    with pytest.raises(UserError, match=r"labels\.json .*correct or remove it"):
        open_segmentation(tmp_path, "auto")


def test_other_values_are_refused(tmp_path):
    with pytest.raises(UserError, match="must be true, false or auto, not 'yes'"):
        resolve_reduce_zero(write_ade20k(tmp_path), "yes")


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
def test_that_remedy_is_not_offered_where_it_does_not_help(label, tmp_path):
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


def test_ade20ks_own_table_names_the_classes(tmp_path):
    text = "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1\t9\t9\t1\twall\n2\t0.1\t9\t9\t1\tbuilding, edifice\n"
    (tmp_path / "objectInfo150.txt").write_text(text)
    assert read_classes(tmp_path) == ["wall", "building"]


SPOILT = [
    (
        lambda maps: Image.fromarray(quarters(40, 30) + 5).save(maps / "0.png"),
        r"label 5 and 3 other labels of no class: this file holds labels 5 to 8, but the 3 classes have 1 to 3 \(255 is"
        r" ignored\); correct the label map, or name every class in classes\.txt$",
    ),
    (lambda maps: Image.fromarray(quarters(30, 40)).save(maps / "0.png"), "30 x 40 pixels, but .* has 40 x 30"),
    (lambda maps: Image.new("RGB", (40, 30)).save(maps / "0.png"), "is an image in RGB; a label map has one number"),
    (lambda maps: Image.new("I;16", (40, 30), 999).save(maps / "0.png"), "labels range from 999 to 999"),
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

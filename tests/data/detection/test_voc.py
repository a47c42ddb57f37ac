import pytest

from data.dense_folders import write_voc
from msgformer.data.detection.sets import find_readers, open_detection
from msgformer.errors import UserError


def test_images_and_objects_are_read(tmp_path):
    train, val = open_detection(write_voc(tmp_path))
    assert train.classes == val.classes == ("cat", "dog")
    assert [train.name(0), train.name(1), val.name(0)] == [f"JPEGImages/{name}.jpg" for name in "abc"]
    target = train.target(0, with_masks=False)
    assert target["boxes"].tolist() == [[2, 3, 12, 13]]  # counted from 1 to the last pixel
    assert target["labels"].tolist() == [2]
    assert [one.crowd for one in train.images[0].instances] == [False, True]  # difficult
    assert len(train.trainable(with_masks=False)) == 2
    assert [problem.kind for problem in find_readers(tmp_path)["val"]()[1]] == ["no annotations"]
    train.load(1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "Annotations/a.xml").unlink(), r"a\.xml: no such file"),
        (lambda root: (root / "Annotations/a.xml").write_text("<annotation>"), r"a\.xml: isn't valid XML"),
        (lambda root: (root / "JPEGImages/b.jpg").unlink(), "JPEGImages/b: no such image file"),
        (lambda root: replace(root, "<width>40</width>", ""), "lacks a width or height"),
        (lambda root: replace(root, "<xmin>3</xmin>", "<xmin>x</xmin>"), "object 'dog' has no box in numbers"),
        (lambda root: replace(root, "<name>dog</name>", ""), "unknown class ''"),
        (lambda root: (root / "ImageSets/Main/val.txt").write_text("\n"), r"val\.txt is missing or empty"),
    ],
)
def test_problems_are_named(damage, message, tmp_path):
    damage(write_voc(tmp_path))
    with pytest.raises(UserError, match=message):
        open_detection(tmp_path)


def test_a_box_without_area_is_left_out(tmp_path):
    replace(write_voc(tmp_path), "<xmax>12</xmax>", "<xmax>1</xmax>")
    train, _ = open_detection(tmp_path)
    assert train.target(0, with_masks=False)["boxes"].shape == (0, 4)
    assert [p.kind for p in find_readers(tmp_path)["train"]()[1]] == ["box without area"]


def replace(root, old, new):
    path = root / "Annotations" / "a.xml"
    path.write_text(path.read_text().replace(old, new))

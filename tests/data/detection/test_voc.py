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


UNKNOWN_ENCODING = '<?xml version="1.0" encoding="none"?><annotation>'


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "Annotations/a.xml").unlink(), r"a\.xml: no such file"),
        (lambda root: (root / "Annotations/a.xml").write_text("<annotation>"), r"a\.xml: isn't valid XML"),
        (lambda root: (root / "JPEGImages/b.jpg").unlink(), "JPEGImages/b: no such image file"),
        (lambda root: replace(root, "<annotation>", UNKNOWN_ENCODING), r"a\.xml: isn't valid XML \(unknown encoding"),
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


def test_the_size_of_the_image_replaces_a_missing_one(tmp_path):
    replace(write_voc(tmp_path), "<width>40</width>", "<width>0</width>")
    images, problems = find_readers(tmp_path)["train"]()
    assert (images.images[0].width, images.images[0].height) == (40, 30)
    assert ("note", "annotation file") in {(problem.severity, problem.kind) for problem in problems}


@pytest.mark.parametrize("encoding", ["gb2312", "utf-16", "latin-1"])
def test_annotations_are_read_in_any_encoding(tmp_path, encoding):
    path = write_voc(tmp_path) / "Annotations" / "a.xml"
    name = "caf\u00e9" if encoding == "latin-1" else "\u72d7"
    text = path.read_text().replace("dog", name)
    path.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?>\n{text}'.encode(encoding))
    assert name in open_detection(tmp_path)[0].classes


def test_suffixes_of_images_may_be_in_upper_case(tmp_path):
    image = write_voc(tmp_path) / "JPEGImages" / "a.jpg"
    image.rename(image.with_suffix(".JPG"))
    assert open_detection(tmp_path)[0].images[0].file.endswith("a.JPG")

from pathlib import Path

import pytest

from data.dense_folders import SIZES, write_images
from msgformer.data.detection.sets import find_readers, open_detection
from msgformer.data.detection.yolo import label_file
from msgformer.errors import UserError

LABELS = {"0": "1 0.5 0.5 0.5 0.2\n", "1": "0 0.1 0.1 0.5 0.1 0.5 0.4\n\n", "2": ""}


def write_yolo(root: Path, config: str = "train: images/train\nval: images/val\nnames: [cat, dog]\n") -> Path:
    for subset in ("train", "val"):
        write_images(root / "images" / subset, [f"{name}.jpg" for name in LABELS])
        (root / "labels" / subset).mkdir(parents=True)
        for name, text in LABELS.items():
            (root / "labels" / subset / f"{name}.txt").write_text(text)
    (root / "data.yaml").write_text(config)
    return root


def test_boxes_and_polygons_are_read_in_pixels(tmp_path):
    train, val = open_detection(write_yolo(tmp_path))
    (width, height), (other_width, other_height) = SIZES[:2]
    assert train.classes == val.classes == ("cat", "dog")
    (box,), (polygon,), nothing = (image.instances for image in train.images)
    assert (box.label, box.segmentation, nothing) == (2, None, ())
    assert box.bbox == pytest.approx((0.25 * width, 0.4 * height, 0.5 * width, 0.2 * height))
    assert polygon.label == 1
    assert polygon.bbox == pytest.approx((0.1 * other_width, 0.1 * other_height, 0.4 * other_width, 0.3 * other_height))
    assert polygon.segmentation[0][4:] == pytest.approx([0.5 * other_width, 0.4 * other_height])
    assert [train.name(index) for index in range(3)] == [f"images/train/{name}.jpg" for name in "012"]


@pytest.mark.parametrize(
    "config",
    [
        "path: .\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n",
        "train: ../images/train\nval: ../images/val\nnc: 2\nnames: ['cat', 'dog']\n",
        "train: [images/train]\ntest: images/val\nnames:\n- cat\n- dog\n",
        "train: list.txt\nval: images/val\nnames: [cat, dog]\n",
    ],
    ids=["numbered names", "Roboflow", "lists", "a list of images"],
)
def test_spellings_of_the_configuration(tmp_path, config):
    (tmp_path / "list.txt").write_text("".join(f"./images/train/{name}.jpg\n" for name in LABELS))
    train, val = open_detection(write_yolo(tmp_path, config))
    assert (len(train), len(val), train.classes) == (3, 3, ("cat", "dog"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("train: images/train\nval: images/val\n", r"data\.yaml has no names; list the names"),
        ("val: images/val\nnames: [cat, dog]\n", "has no train; give the folder"),
        ("train: images/trian\nval: images/val\nnames: [cat, dog]\n", "there is no .*images/trian; correct the path"),
        ("train: labels/train\nval: images/val\nnames: [cat, dog]\n", "there are no images in train: labels/train"),
        ("train: images/train\nval: images/val\nnames: [cat, cat]\n", "names the class 'cat' twice"),
        ("train: [\n", r"data\.yaml, line"),
    ],
)
def test_unusable_configurations_are_refused(tmp_path, config, message):
    with pytest.raises(UserError, match=message):
        find_readers(write_yolo(tmp_path, config))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "line 1 has class 2, but data.yaml names 2 classes"),
        ("0 0.5 0.5 0.1", "line 1 needs a class and x y width height, or a polygon"),
        ("cat 0.5 0.5 0.1 0.1", "line 1 needs a class"),
        ("0 50 50 10 10", "line 1 has coordinates outside 0..1"),
    ],
)
def test_invalid_labels_are_named(tmp_path, line, message):
    (write_yolo(tmp_path) / "labels" / "train" / "0.txt").write_text(line)
    with pytest.raises(UserError, match=rf"labels/train/0\.txt: {message}"):
        open_detection(tmp_path)


def test_labels_lie_below_labels_or_beside_the_image():
    assert label_file(Path("images/a/images/b/1.jpg")) == Path("images/a/labels/b/1.txt")
    assert label_file(Path("a/1.jpg")) == Path("a/1.txt")

from contextlib import contextmanager

import pytest
from PIL import Image

from msgformer.data.repair.classification import repair_classification
from msgformer.data.survey import survey_classification
from msgformer.errors import UserError


@contextmanager
def no_progress(total):
    yield lambda: None


def repair(data, output):
    return repair_classification(str(data), survey_classification(str(data), no_progress).problems, output)


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_unreadable_images_are_left_out_of_each_subset(tmp_path, image_folder):
    root = image_folder("data/Training", per_class=2).parent
    image_folder("data/Testing", per_class=1)
    (root / "Training" / "dark" / "00.png").write_bytes(b"")
    (root / "Testing" / "light" / "00.png").write_bytes(b"text")
    found = repair(root, tmp_path / "copy")
    assert found.images == {"train": 3, "val": 1}
    assert found.left_out == [f"{root}/Training/dark/00.png", f"{root}/Testing/light/00.png"]
    names = ["train/dark/01.png", "train/light/00.png", "train/light/01.png", "val/dark/00.png"]
    assert files(tmp_path / "copy") == names
    assert (tmp_path / "copy/train/dark/01.png").read_bytes() == (root / "Training/dark/01.png").read_bytes()


def test_tables_become_class_folders(tmp_path):
    """Images of one name in several folders are kept apart."""
    root = tmp_path / "data"
    rows = [("x/0.png", "cat"), ("y/0.png", "cat"), ("../far/0.png", "dog"), ("far/0.png", "dog")]
    for number, (name, _) in enumerate(rows):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (number, 0, 0)).save(root / name)
    (root / "labels.csv").write_text("image,label\n" + "".join(f"{name},{label}\n" for name, label in rows))
    assert repair(root, tmp_path / "copy").images == {"all": 4}
    assert files(tmp_path / "copy") == ["cat/x/0.png", "cat/y/0.png", "dog/far/0.png", "dog/far/0_2.png"]


def test_a_class_that_is_no_name_of_a_folder_is_refused(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    for number in range(4):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(root / f"{number}.png")
    (root / "labels.csv").write_text("image,label\n0.png,a\n1.png,a\n2.png,../b\n3.png,../b\n")
    with pytest.raises(UserError, match=r"^fix: class '\.\./b' can't be the name of a folder"):
        repair(root, tmp_path / "copy")
    assert not (tmp_path / "b").exists()


def test_errors_of_the_layout_are_refused(tmp_path, image_folder):
    root = image_folder("data/train", per_class=1).parent
    image_folder("data/val", per_class=1, classes=["dark", "other"])
    with pytest.raises(UserError, match=r"^fix: not repairable .*val/other: the class isn't in training"):
        repair(root, tmp_path / "copy")


def test_images_outside_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="is no folder or table of labels"):
        repair_classification("sample:digits", [], tmp_path / "copy")

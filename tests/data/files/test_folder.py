from pathlib import Path

import pytest
from timm.data.readers.reader_image_folder import natural_key

from msgformer.data.files.folder import (
    find_images,
    ignored_folders,
    is_image,
    list_classes,
    natural_order,
    require_folder,
)
from msgformer.errors import UserError


def test_lists_classes_and_images_in_order(image_folder):
    root = image_folder(per_class=2)
    listing = list_classes(root)
    assert listing.classes == ("dark", "light")
    assert listing.names == ("dark/00.png", "dark/01.png", "light/00.png", "light/01.png")
    assert listing.labels == (0, 0, 1, 1)
    assert listing.path(3) == str(root / "light" / "01.png")
    assert listing.subset([2]).names == ("light/00.png",)


@pytest.mark.parametrize("name", ["a.PNG", "b.jpeg", "with space.JPG", "ü.webp", "two.dots.tif"])
def test_images_are_recognized_by_their_names(name):
    assert is_image(name)


@pytest.mark.parametrize("name", [".hidden.png", "notes.txt", "png", ".png", "archive.png.zip"])
def test_other_files_are_not_images(name):
    assert not is_image(name)


def test_finds_images_in_sub_folders_and_survives_a_loop_of_links(image_folder):
    root = image_folder(per_class=1)
    (root / "dark" / "loop").symlink_to(root, target_is_directory=True)
    assert find_images(root) == ["dark/00.png", "light/00.png"]


def test_a_file_is_no_data_folder(image_folder):
    with pytest.raises(UserError, match="is a file, not a folder"):
        require_folder(image_folder() / "dark" / "00.png")


def test_no_class_folders(tmp_path):
    with pytest.raises(UserError, match=r"no class folders in .*: put the images of each class"):
        list_classes(tmp_path)


def test_images_without_class_folders(image_folder):
    with pytest.raises(UserError, match="it holds images directly"):
        list_classes(image_folder() / "dark")


def test_a_single_class(image_folder):
    with pytest.raises(UserError, match="only one class folder"):
        list_classes(image_folder(classes=["only"]))


def test_empty_and_ignored_folders_are_no_classes(image_folder):
    root = image_folder(classes=["dark", "light"])
    (root / "empty").mkdir()
    for name in (".git", "__MACOSX", "dark/@eaDir"):
        (root / name).mkdir()
        (root / name / "a.png").write_bytes((root / "dark/00.png").read_bytes())
    assert list_classes(root).classes == ("dark", "light")
    assert len(list_classes(root)) == 12
    assert ignored_folders(root) == ["__MACOSX"]


def test_classes_are_in_natural_order(image_folder):
    root = image_folder(per_class=1, classes=["10", "2", "b12", "B3", "1", "a"])
    assert list_classes(root).classes == ("1", "2", "10", "a", "B3", "b12")
    given = list_classes(root, ["10", "2", "b12", "B3", "1", "a"])
    assert [name[:-7] for name in given.names] == ["10", "2", "b12", "B3", "1", "a"]
    assert given.labels == (0, 1, 2, 3, 4, 5)


def test_natural_order_equals_that_of_timm():
    names = ["n10", "n9", "N9a", "x", "007", "7", "a1b10", "a1b9", "_", "10x", "2"]
    assert natural_order(names) == sorted(sorted(names), key=natural_key)


def test_composed_and_decomposed_names_are_one_class(image_folder):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    train = list_classes(image_folder("train", per_class=1, classes=["bar", decomposed]))
    assert train.classes == ("bar", composed)
    val = list_classes(image_folder("val", per_class=1, classes=["bar", composed]), train.classes)
    assert val.labels == (0, 1)
    assert Path(train.path(1)).is_file()
    both = image_folder("both", per_class=1, classes=["bar", composed, decomposed])
    with pytest.raises(UserError, match="two folders of class 'caf\u00e9'"):
        list_classes(both)


def test_a_link_to_a_parent_folder_is_not_followed(image_folder):
    root = image_folder(per_class=1)
    (root / "dark" / "up").symlink_to(root, target_is_directory=True)
    (root / "dark" / "itself").symlink_to("itself")
    assert list_classes(root).names == ("dark/00.png", "light/00.png")

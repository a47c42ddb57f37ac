import pytest

from msgformer.data.files.folder import find_images, is_image, list_classes, list_subsets
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


def test_train_and_val_folders_are_not_split(image_folder):
    image_folder("data/train", per_class=3)
    root = image_folder("data/val", per_class=1).parent
    train, val = list_subsets(root)
    assert (len(train), val and len(val)) == (6, 2)


def test_class_folders_alone_have_no_validation_images(image_folder):
    listing, val = list_subsets(image_folder())
    assert (len(listing), val) == (12, None)


def test_a_missing_folder_is_named_with_a_suggestion(image_folder):
    image_folder("pictures")
    with pytest.raises(UserError, match=r"no such file or folder: .*picturs; did you mean 'pictures'"):
        list_subsets(image_folder("other").parent / "picturs")


def test_a_file_is_no_data_folder(image_folder):
    with pytest.raises(UserError, match="is a file, not a folder"):
        list_subsets(image_folder() / "dark" / "00.png")


def test_no_class_folders(tmp_path):
    with pytest.raises(UserError, match=r"no class folders in .*: put the images of each class"):
        list_subsets(tmp_path)


def test_images_without_class_folders(image_folder):
    with pytest.raises(UserError, match="it holds images directly"):
        list_subsets(image_folder() / "dark")


def test_an_empty_class_folder(image_folder):
    root = image_folder()
    (root / "none").mkdir()
    with pytest.raises(UserError, match=r"none holds no images"):
        list_subsets(root)


def test_a_single_class(image_folder):
    with pytest.raises(UserError, match="only one class folder"):
        list_subsets(image_folder(classes=["only"]))


def test_a_class_that_only_val_has(image_folder):
    image_folder("data/train")
    root = image_folder("data/val", classes=["dark", "lihgt"]).parent
    with pytest.raises(UserError, match=r"'lihgt' in .*val is not among the known classes; did you mean 'light'"):
        list_subsets(root)


def test_val_is_missing_beside_train(image_folder):
    with pytest.raises(UserError, match="has train/ but no val/"):
        list_subsets(image_folder("data/train").parent)


def test_a_link_to_a_parent_folder_is_not_followed(image_folder):
    root = image_folder(per_class=1)
    (root / "dark" / "up").symlink_to(root, target_is_directory=True)
    (root / "dark" / "itself").symlink_to("itself")
    assert list_classes(root).names == ("dark/00.png", "light/00.png")

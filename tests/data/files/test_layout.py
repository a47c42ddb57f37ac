import pytest

from msgformer.data.files.layout import find_layout, find_subsets, is_test_folder, list_subsets, pick_subset, subset_of
from msgformer.errors import UserError

CLASSES = ["dark", "light"]


def find_evaluation(path, classes):
    layout = find_layout(path, classes)
    return layout.val or layout.train


@pytest.mark.parametrize(
    ("subset", "names"),
    [
        ("train", ["train", "TRAIN", "Training", "training_set", "seg_train", "train2017", "Train-Images", "trainset"]),
        ("val", ["val", "valid", "Validation", "dev", "val2017", "valid_data"]),
        ("test", ["test", "TESTING", "test_set", "seg_test"]),
        (None, ["trains", "valley", "tester", "contest", "restrain", "2017", "", "devil", "invalid"]),
    ],
)
def test_subsets_are_recognized_by_name(subset, names):
    assert {name: subset_of(name) for name in names} == dict.fromkeys(names, subset)


@pytest.mark.parametrize(
    ("names", "train", "val"),
    [
        (["dev", "train", "val"], "train", "val"),
        (["test", "training", "validation"], "training", "validation"),
        (["TEST", "x"], None, "TEST"),
        ([], None, None),
    ],
)
def test_of_several_names_the_most_common_is_picked(names, train, val):
    assert (pick_subset(names, "train"), pick_subset(names, "val")) == (train, val)


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("train", "val"),
        ("TRAIN", "TEST"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("images/train", "images/val"),
        ("archive/Training", "archive/Testing"),
        ("train/images", "val/images"),
    ],
)
def test_splits_are_found_at_the_top_and_wrapped_once(image_folder, tmp_path, train, val):
    image_folder(f"data/{train}", per_class=3)
    image_folder(f"data/{val}", per_class=1)
    layout = find_subsets(tmp_path / "data")
    assert (layout.train, layout.val) == (tmp_path / "data" / train, tmp_path / "data" / val)
    listings = list_subsets(tmp_path / "data")
    assert [len(listing) for listing in listings] == [6, 2]
    assert find_evaluation(tmp_path / "data", CLASSES) == layout.val


def test_test_images_are_separate_from_validation_images(image_folder):
    root = image_folder("data/train").parent
    image_folder("data/test")
    assert (find_layout(root).val, find_layout(root).test) == (root / "test", None)
    assert is_test_folder(root / "test", root)
    assert not is_test_folder(root / "valid", root)
    image_folder("data/valid")
    assert (find_layout(root).val, find_layout(root).test) == (root / "valid", root / "test")


def test_other_folders_beside_a_split_are_named(image_folder):
    root = image_folder("data/train").parent
    image_folder("data/val")
    image_folder("data/extra/more", classes=["x"])
    (root / "unlabeled").mkdir()
    (root / "unlabeled/a.png").write_bytes((root / "val/dark/00.png").read_bytes())
    assert find_layout(root).notes == (
        f"{root}/extra is left out: its name is not that of a subset",
        f"{root}/unlabeled is left out: its images have no labels",
    )


def test_training_images_beside_unlabeled_test_images_are_split(image_folder):
    root = image_folder("data/train").parent
    (root / "test").mkdir()
    (root / "test/a.png").write_bytes((root / "train/dark/00.png").read_bytes())
    layout = find_layout(root)
    assert (layout.train, layout.val, layout.test) == (root / "train", None, None)
    assert [note.partition(" is ")[2] for note in layout.notes] == [
        "left out: its images have no labels",
        "split into training and validation images, since there is no val/",
    ]


@pytest.mark.parametrize(
    "classes", [("bus", "train"), ("invalid", "valid"), ("normal", "test"), ("train", "val", "test")]
)
def test_folders_whose_images_lie_directly_in_them_are_classes(image_folder, classes):
    root = image_folder(classes=classes)
    train, val = list_subsets(root)
    assert {*train.classes} == {*classes}
    assert val is None
    assert find_evaluation(root, [*classes]) == root


def test_a_folder_named_like_a_subset_with_folders_is_ambiguous_beside_a_class(image_folder):
    image_folder("data/train")
    root = image_folder("data/bus", classes=["old"]).parent
    with pytest.raises(UserError, match=r"has train/ with class folders, but no val/ or test/ with some, beside bus/"):
        find_layout(root)
    assert find_evaluation(root, ["bus", "train"]) == root


def test_two_folders_of_one_subset_are_refused(image_folder):
    for name in ("train", "Training", "val"):
        root = image_folder(f"data/{name}").parent
    with pytest.raises(UserError, match="has train/ and Training/, which both look like train images"):
        find_layout(root)


def test_class_folders_in_the_only_folder(image_folder):
    root = image_folder("data/archive").parent
    assert find_layout(root).train == root / "archive"
    assert find_layout(root).notes == (f"the class folders are those in {root}/archive",)
    assert find_evaluation(root, CLASSES) == root / "archive"
    assert find_evaluation(root, ["archive", "other"]) == root


@pytest.mark.parametrize("inside", [("cat", "dog"), ("train", "val"), ("2020",)])
def test_class_folders_with_equal_folders_only_are_refused(image_folder, inside):
    for name in ("a", "b"):
        root = image_folder(f"data/{name}", classes=inside).parent
    with pytest.raises(UserError, match=rf"a/, b/ hold no images but all the same folders \({inside[0]}/"):
        find_layout(root)


def test_class_folders_may_wrap_their_images(image_folder):
    """As in Tiny ImageNet."""
    for name in CLASSES:
        root = image_folder(f"data/{name}", classes=["images"]).parent
    assert list_subsets(root)[0].classes == ("dark", "light")


def test_a_missing_folder_is_named_with_a_suggestion(image_folder):
    image_folder("pictures")
    with pytest.raises(UserError, match=r"no such file or folder: .*picturs; did you mean 'pictures'"):
        list_subsets(image_folder("other").parent / "picturs")


def test_a_class_that_only_val_has(image_folder):
    image_folder("data/train")
    root = image_folder("data/val", classes=["dark", "lihgt"]).parent
    with pytest.raises(UserError, match=r"'lihgt' in .*val is not among the known classes; did you mean 'light'"):
        list_subsets(root)


def test_training_images_are_missing(image_folder):
    image_folder("data/test")
    root = image_folder("data/val").parent
    with pytest.raises(UserError, match="has val/ but no train/; add it"):
        list_subsets(root)
    assert find_evaluation(root, CLASSES) == root / "val"

import pytest

from msgformer.data.classification.subsets import (
    layout_notes,
    open_evaluation,
    open_subsets,
    record_subsets,
    reopen_validation,
)
from msgformer.errors import UserError

CLASSES = ["dark", "light"]


def names(source):
    return [source.name(index) for index in range(len(source.labels))]


def test_class_folders_are_split_per_class(image_folder):
    root = image_folder(per_class=10)
    train, val, skipped = open_subsets(root, 0.2, seed=0)
    assert (len(train.labels), sorted(val.labels), skipped) == (16, [0, 0, 1, 1], [])
    assert {*names(train)}.isdisjoint(names(val))
    assert names(open_subsets(root, 0.2, seed=0)[1]) == names(val)
    assert names(open_subsets(root, 0.2, seed=1)[1]) != names(val)


def test_a_validation_folder_is_not_mixed_with_training_images(image_folder):
    image_folder("data/train", per_class=5)
    root = image_folder("data/val", per_class=2).parent
    train, val, _ = open_subsets(root, 0.5, seed=0)
    assert (len(train.labels), len(val.labels)) == (10, 4)


def test_recorded_validation_images_are_found_again(image_folder, tmp_path):
    root = image_folder(per_class=10)
    train, val, _ = open_subsets(root, 0.2, seed=0)
    run = tmp_path / "run"
    run.mkdir()
    record_subsets(run, train, val)
    image_folder("data/more", classes=["x"])  # images added later don't count
    again = reopen_validation(run, root, CLASSES, 0.2, seed=5)
    assert names(again) == names(val)
    assert list(again.labels) == list(val.labels)
    (root / names(val)[0]).unlink()
    with pytest.raises(UserError, match="was held out by the run, but is missing"):
        reopen_validation(run, root, CLASSES, 0.2, seed=0)


def test_a_run_without_a_record_needs_data(image_folder, tmp_path):
    with pytest.raises(UserError, match=r"no record of held-out images .*; give --data FOLDER"):
        reopen_validation(tmp_path, image_folder(), CLASSES, 0.2, seed=0)


def test_evaluation_prefers_validation_images(image_folder):
    image_folder("data/train", per_class=5)
    root = image_folder("data/val", per_class=2).parent
    assert len(open_evaluation(root, CLASSES).labels) == 4
    assert len(open_evaluation(root / "train", CLASSES).labels) == 10
    assert list(open_evaluation(root, ["black", *CLASSES]).labels) == [1, 1, 2, 2]
    with pytest.raises(UserError, match="not among the known classes"):
        open_evaluation(root, ["dark"])


def test_a_class_called_like_a_subset_is_evaluated(image_folder, tmp_path):
    """Its images lie directly in it, in training and in evaluation."""
    root = image_folder(classes=["invalid", "valid"])
    train, val, _ = open_subsets(root, 0.5, 0)
    record_subsets(tmp_path, train, val)
    again = reopen_validation(tmp_path, root, ["invalid", "valid"], 0.5, 0)
    assert [again.name(index) for index in range(len(again.labels))] == [
        val.name(index) for index in range(len(val.labels))
    ]
    assert open_evaluation(root, ["invalid", "valid"]).classes == ("invalid", "valid")


def test_a_validation_folder_alone_is_evaluated(image_folder):
    root = image_folder("data/val", classes=["cats", "dogs"]).parent
    (root / "notes").mkdir()
    assert set(open_evaluation(root, ["cats", "dogs"]).labels) == {0, 1}


def test_a_resumed_run_keeps_the_order_of_its_classes(image_folder):
    """Runs of earlier versions have alphabetical order, which the split depends on as well."""
    root = image_folder(per_class=4, classes=["1", "10", "2"])
    train, val, _ = open_subsets(root, 0.5, seed=0, classes=["1", "10", "2"])
    assert train.classes == val.classes == ("1", "10", "2")
    assert names(train)[2].startswith("10/")
    assert list(train.labels) == [0, 0, 1, 1, 2, 2]
    assert open_subsets(root, 0.5, seed=0)[0].classes == ("1", "2", "10")


def test_files_that_are_left_out_are_counted_and_named(image_folder):
    root = image_folder(per_class=2)
    assert layout_notes(root) == ()
    for name in ("a.dcm", "b.txt", "c.raw", "d.npy"):
        (root / "dark" / name).write_bytes(b"x")
    (root / "light" / "00.png").rename(root / "loose.png")
    assert layout_notes(root) == (
        "left out 4 file(s) that are not images by their names: dark/a.dcm, dark/b.txt, dark/c.raw and 1 more",
        "left out 1 image(s) in no class folder: loose.png",
    )

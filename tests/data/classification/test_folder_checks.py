import pytest

from msgformer.data.classification.folder_checks import survey_folder
from msgformer.data.problems import Problem
from msgformer.errors import UserError


def found(root):
    """Return the severity, kind and relative path of every problem."""
    return {
        (one.severity, one.kind, one.path.removeprefix(str(root)).strip("/")) for one in survey_folder(str(root))[1]
    }


def test_a_folder_without_problems(image_folder):
    listings, problems = survey_folder(str(image_folder()))
    assert problems == []
    assert {subset: len(listing) for subset, listing in listings.items()} == {"all": 12}


def test_all_problems_are_found_at_once(image_folder):
    root = image_folder("data/train", per_class=2, classes=["cat", "dog", "only-here"]).parent
    image_folder("data/val", per_class=1, classes=["cat", "dgo"])
    (root / "train" / "empty").mkdir()
    (root / "train" / ".hidden").mkdir()
    (root / "val" / "loose.png").write_bytes((root / "val/cat/00.png").read_bytes())
    (root / "val" / "cat" / "notes.txt").write_text("")
    assert found(root) == {
        ("warning", "empty class", "train/empty"),
        ("error", "classes", "val/dgo"),
        ("warning", "classes", "train/dog"),
        ("warning", "classes", "train/only-here"),
        ("warning", "image without class", "val/loose.png"),
        ("note", "other file", "val/cat/notes.txt"),
    }
    messages = {one.path: one.message for one in survey_folder(str(root))[1]}
    assert "did you mean 'dog'?" in messages[str(root / "val" / "dgo")]


def test_missing_training_images_are_an_error(image_folder):
    image_folder("data/test")
    root = image_folder("data/validation").parent
    listings, problems = survey_folder(str(root))
    assert "there is validation/ but no train/" in [one.message[:34] for one in problems]
    assert {subset: len(listing) for subset, listing in listings.items()} == {"val": 12, "test": 12}


def test_missing_validation_images_are_noted(image_folder):
    root = image_folder("data/train").parent
    listings, (problem,) = survey_folder(str(root))
    assert problem.severity == "note"
    assert problem.message.endswith("train is split into training and validation images, since there is no val/")
    assert len(listings["all"]) == 12


def test_an_ambiguous_layout_is_an_error(image_folder):
    image_folder("data/train")
    root = image_folder("data/bus", classes=["old"]).parent
    listings, (problem,) = survey_folder(str(root))
    assert (listings, problem.severity, problem.kind) == ({}, "error", "layout")


def test_a_class_may_be_called_like_a_subset(image_folder):
    listings, problems = survey_folder(str(image_folder(classes=["invalid", "valid"])))
    assert (listings["all"].classes, problems) == (("invalid", "valid"), [])


def test_one_class_and_none(image_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    assert survey_folder(str(tmp_path / "empty"))[1][0].message.startswith("no class folders; a classifier needs")
    root = image_folder(classes=["only"])
    assert "only one class folder, 'only'" in survey_folder(str(root))[1][0].message


def test_a_class_that_cannot_be_split(image_folder):
    root = image_folder(per_class=1)
    assert found(root) == {("error", "classes", "dark"), ("error", "classes", "light")}


def test_a_loop_of_links_is_walked_once(image_folder):
    root = image_folder()
    (root / "dark" / "loop").symlink_to(root, target_is_directory=True)
    listings, problems = survey_folder(str(root))
    assert (len(listings["all"]), problems) == (12, [])


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        survey_folder(str(tmp_path / "gone"))


def test_odd_class_names_stay_in_the_line(image_folder):
    root = image_folder(classes=["two\nlines"])
    (problem,) = survey_folder(str(root))[1]
    assert isinstance(problem, Problem)
    assert "'two\\nlines'" in problem.message

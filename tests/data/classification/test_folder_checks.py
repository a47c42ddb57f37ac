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
        ("error", "empty class", "train/empty"),
        ("error", "classes", "val/dgo"),
        ("warning", "classes", "train/dog"),
        ("warning", "classes", "train/only-here"),
        ("warning", "classes", "train/empty"),
        ("warning", "image without class", "val/loose.png"),
        ("note", "other file", "val/cat/notes.txt"),
    }
    messages = {one.path: one.message for one in survey_folder(str(root))[1]}
    assert "did you mean 'dog'?" in messages[str(root / "val" / "dgo")]


@pytest.mark.parametrize(("there", "missing"), [("train", "val"), ("validation", "train")])
def test_a_missing_subset_is_named(image_folder, there, missing):
    root = image_folder(f"data/{there}").parent
    listings, (problem,) = survey_folder(str(root))
    assert problem.message.startswith(f"there is {there}/ but no {missing}/")
    assert len(next(iter(listings.values()))) == 12


def test_a_class_may_be_called_like_a_subset(image_folder):
    listings, (problem,) = survey_folder(str(image_folder(classes=["invalid", "valid"])))
    assert (problem.severity, listings["all"].classes) == ("warning", ("invalid", "valid"))
    assert "valid/ is taken as a class" in problem.message


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

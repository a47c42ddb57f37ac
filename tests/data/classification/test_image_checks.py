import shutil

import pytest

from data.odd_images import READABLE, RGB, UNREADABLE
from msgformer.data.classification.image_checks import check_source_images
from msgformer.data.files.folder import list_classes
from msgformer.data.files.sources import FolderSource

ODD = {
    "sixteen bits": {"wide pixels"},
    "floating point": {"wide pixels"},
    "CMYK": {"CMYK"},
    "grey and alpha": {"transparency"},
    "alpha": {"transparency"},
    "transparent palette": {"transparency"},
    "animated GIF": {"animation"},
    "animated PNG": {"animation"},
    "animated WebP": {"animation", "transparency"},  # every such file has room for it
    "turned by EXIF": {"EXIF orientation"},
    "one pixel": {"small image"},
    "30,000 x 20,000 JPEG": {"large image"},
}


def checked(**roots):
    sources = {subset: FolderSource(list_classes(root)) for subset, root in roots.items()}
    seen = []
    problems = check_source_images(sources, lambda: seen.append(1))
    assert len(seen) == sum(len(source.labels) for source in sources.values())
    return problems


@pytest.mark.parametrize("kind", READABLE)
def test_unusual_images_are_noted(image_folder, kind):
    root = image_folder(per_class=1)
    shutil.rmtree(root / "dark")
    (root / "dark").mkdir()
    RGB.save(root / "light" / "00.png", optimize=True, compress_level=1)
    name, write = READABLE[kind]
    write(root / "dark" / name)
    problems = checked(all=root)
    # beside an image of 8 bits
    expected = {"mixed bits"} if "wide pixels" in ODD.get(kind, ()) else set()
    assert {one.kind for one in problems if one.severity != "note"} == expected
    assert {problem.kind for problem in problems if problem.path == str(root / "dark" / name)} == ODD.get(kind, set())


@pytest.mark.parametrize("kind", UNREADABLE)
def test_unreadable_images_are_errors_with_the_reason(image_folder, kind):
    root = image_folder(per_class=1)
    name, write = UNREADABLE[kind]
    write(root / "dark" / name)
    (problem,) = (one for one in checked(all=root) if one.severity == "error")
    assert (problem.kind, problem.path) == ("unreadable image", str(root / "dark" / name))
    assert "remove it" in problem.message or "make it smaller" in problem.message
    assert "\n" not in problem.message
    assert problem.path not in problem.message, "it stands before the message"


def test_duplicate_images(image_folder):
    train = image_folder("data/train", per_class=2)
    val = image_folder("data/val", per_class=1)
    for path in val.rglob("*.png"):
        RGB.rotate(30 if path.parent.name == "dark" else 60).save(path)
    shutil.copy(train / "dark" / "00.png", train / "dark" / "again.png")
    shutil.copy(train / "dark" / "01.png", train / "light" / "other.png")
    shutil.copy(train / "light" / "00.png", val / "light" / "leak.png")
    problems = {one.path: one for one in checked(train=train, val=val) if one.kind != "small image"}
    assert {path.rpartition("data/")[2]: (one.severity, one.kind) for path, one in problems.items()} == {
        "train/dark/again.png": ("note", "duplicate"),
        "train/light/other.png": ("warning", "two classes"),
        "val/light/leak.png": ("warning", "in both subsets"),
    }
    assert "'dark' there, 'light' here" in problems[str(train / "light" / "other.png")].message
    assert f"as {train}/light/00.png in train" in problems[str(val / "light" / "leak.png")].message


def test_skewed_classes(image_folder):
    root = image_folder(per_class=10)
    for number in range(1, 10):
        (root / "light" / f"{number:02d}.png").unlink()
    (problem,) = (one for one in checked(train=root) if one.kind == "skew")
    assert problem.severity == "warning"
    assert "10 images of 'dark', but 1 of 'light'; --balance sampler or loss" in problem.message
    assert not [one for one in checked(val=root) if one.kind == "skew"]


@pytest.mark.parametrize("size", [(31, 200), (200, 31)])
def test_images_with_one_small_side_are_noted(image_folder, size):
    root = image_folder(per_class=1)
    narrow = root / "dark" / "00.png"
    RGB.resize(size).save(narrow)
    assert [one.kind for one in checked(all=root) if one.path == str(narrow)] == ["small image"]

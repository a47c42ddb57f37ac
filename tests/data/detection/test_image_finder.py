import pytest

from msgformer.data.detection.image_finder import ImageFinder
from msgformer.errors import UserError


@pytest.fixture
def finder(tmp_path):
    for name in ("train/a.jpg", "images/b.jpg", "deep/er/c d.jpg", "deep/e.jpg", "val/f.jpg", "x/g.jpg", "y/g.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return ImageFinder(tmp_path, [tmp_path / "train", tmp_path / "images"], [tmp_path / "val"])


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.jpg", "train/a.jpg"),
        ("../images/b.jpg", "images/b.jpg"),
        ("sub\\b.jpg", "images/b.jpg"),
        ("/data/upload/3/0123abcd-b.jpg", "images/b.jpg"),
        ("/data/local-files/?d=deep/er/c%20d.jpg", "deep/er/c d.jpg"),
        ("er/c d.jpg", "deep/er/c d.jpg"),
        ("./e.jpg", "deep/e.jpg"),
        ("f.jpg", None),  # an image of another subset
        ("h.jpg", None),
    ],
)
def test_names_as_tools_write_them(finder, name, path):
    found = finder.find(name)
    assert (found and found.resolve()) == (path and (finder.root / path).resolve())


def test_a_name_of_two_images_is_refused(finder):
    with pytest.raises(UserError, match=r"g\.jpg is the name of 2 images in .* \(x/g\.jpg, y/g\.jpg\)"):
        finder.find("g.jpg")
    assert finder.find("y/g.jpg") == finder.root / "y" / "g.jpg"


def test_a_file_beside_the_annotations_comes_first(finder):
    assert finder.find("..\\photos\\g.jpg", finder.root / "x") == finder.root / "x" / "g.jpg"
    assert finder.find("b.jpg", finder.root / "x") == finder.root / "images" / "b.jpg"

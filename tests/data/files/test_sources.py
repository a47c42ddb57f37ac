import pytest

from msgformer.data.files.folder import list_classes
from msgformer.data.files.sources import FolderSource, SubsetSource, with_classes
from msgformer.errors import UserError


@pytest.fixture
def source(image_folder):
    return FolderSource(list_classes(image_folder(per_class=3)))


class Numbered:
    """A source whose classes have no names."""

    classes = ("0", "1", "2")
    labels = (2, 0, 1)


def test_a_subset_has_the_chosen_images_in_order(source):
    part = SubsetSource(source, [4, 0])
    assert (part.labels, part.classes) == ((1, 0), source.classes)
    assert [part.name(0), part.name(1)] == ["light/01.png", "dark/00.png"]
    assert part.load(0).tobytes() == source.load(4).tobytes()
    assert SubsetSource(part, [1]).name(0) == "dark/00.png"


def test_a_subset_probes_its_own_images(source, tmp_path):
    (tmp_path / "data/light/01.png").write_bytes(b"")
    assert "light/01.png" in str(SubsetSource(source, [4]).probe(0, whole=True))
    assert SubsetSource(source, [3]).probe(0, whole=True) is None


def test_classes_are_matched_by_name(source):
    assert with_classes(source, ["light", "dark", "grey"]).labels == (1, 1, 1, 0, 0, 0)
    assert with_classes(source, ["dark", "light"]) is source
    with pytest.raises(UserError, match="class 'dark' of the data is not among the known classes; did you mean 'drk'"):
        with_classes(source, ["drk", "light"])
    assert SubsetSource(source, [3], ["light"]).labels == (0,), "classes without images don't count"


def test_classes_without_names_number_the_others():
    assert with_classes(Numbered(), ["a", "b", "c", "d"]).labels == (2, 0, 1)
    assert with_classes(Numbered(), ["2", "1", "0"]).labels == (0, 2, 1)
    with pytest.raises(UserError, match="class '0'"):
        with_classes(Numbered(), ["a", "b"])


def test_a_missing_file_is_named_by_its_path(source, tmp_path):
    (tmp_path / "data/light/01.png").unlink()
    assert str(source.probe(4, whole=False)) == f"no such image: {tmp_path}/data/light/01.png"

import pytest

from msgformer.data.classification.skipped import (
    Skipped,
    check_images,
    check_subsets,
    count_skipped,
    drop_skipped,
    read_skipped,
    write_skipped,
)
from msgformer.data.files.folder import list_classes
from msgformer.data.files.sources import FolderSource
from msgformer.errors import UserError


@pytest.fixture
def root(image_folder):
    return image_folder(per_class=3)


@pytest.fixture
def broken(root):
    """A source of six images, two of which can't be read."""
    (root / "dark" / "01.png").write_bytes(b"")
    (root / "light" / "02.png").write_bytes((root / "light" / "02.png").read_bytes()[:60])
    return FolderSource(list_classes(root))


def names(source):
    return [source.name(index) for index in range(len(source.labels))]


def test_the_check_names_the_first_and_counts_the_others(broken):
    with pytest.raises(UserError, match=r"dark/01\.png .*\(1 more like it\); --on_bad_image skip leaves"):
        check_images(broken)


def test_large_sets_are_checked_by_headers_or_not_at_all(root, monkeypatch):
    (root / "light" / "02.png").write_bytes((root / "light" / "02.png").read_bytes()[:60])
    cut = FolderSource(list_classes(root))
    with pytest.raises(UserError):
        check_images(cut)
    monkeypatch.setattr("msgformer.data.classification.skipped.FULL_CHECK_LIMIT", 5)
    check_images(cut)
    (root / "light" / "02.png").write_bytes(b"")
    with pytest.raises(UserError):
        check_images(cut)
    monkeypatch.setattr("msgformer.data.classification.skipped.HEADER_CHECK_LIMIT", 5)
    check_images(cut)


def test_unreadable_images_are_skipped_on_request(broken, root, tmp_path):
    with pytest.raises(UserError):
        check_subsets({"train": broken}, "stop")
    (usable,), skipped = check_subsets({"train": broken}, "skip")
    assert names(usable) == ["dark/00.png", "dark/02.png", "light/00.png", "light/01.png"]
    assert [(one.subset, one.name) for one in skipped] == [("train", "dark/01.png"), ("train", "light/02.png")]
    assert str(root / "dark" / "01.png") in skipped[0].reason
    write_skipped(tmp_path, skipped)
    assert read_skipped(tmp_path) == skipped


def test_a_resumed_run_skips_the_same_images(broken, root):
    recorded = [Skipped("train", "dark/01.png", "why"), Skipped("val", "light/00.png", "why")]
    with pytest.raises(UserError, match=r"light/02\.png"):
        check_subsets({"train": broken}, "skip", recorded)
    recorded.append(Skipped("train", "light/02.png", "why"))
    (usable,), skipped = check_subsets({"train": broken}, "skip", recorded)
    assert names(usable) == ["dark/00.png", "dark/02.png", "light/00.png", "light/01.png"]
    assert len(skipped) == 2


def test_a_class_keeps_at_least_one_image(broken):
    skipped = [Skipped("train", f"dark/0{number}.png", "can't read it") for number in range(3)]
    with pytest.raises(UserError, match="no image of class 'dark' in train can be read: can't read it"):
        drop_skipped(broken, skipped, "train")


def test_the_reason_is_of_the_class_that_is_lost(root):
    source = FolderSource(list_classes(root))
    lost = [Skipped("all", f"light/0{number}.png", "cut off") for number in range(3)]
    with pytest.raises(UserError, match="no image of class 'light' in all can be read: cut off"):
        drop_skipped(source, [Skipped("all", "dark/00.png", "empty"), *lost], "all")


def test_nothing_skipped_leaves_no_file(tmp_path, broken):
    write_skipped(tmp_path, [])
    assert list(tmp_path.glob("*.csv")) == []
    assert read_skipped(tmp_path) == []
    assert drop_skipped(broken, [], "train") is broken


def test_odd_names_and_reasons_are_read_back(tmp_path):
    odd = [Skipped("val", 'a/"x",\n\udcff.png', "no, really")]
    write_skipped(tmp_path, odd)
    assert read_skipped(tmp_path) == odd


def test_the_message_counts_by_subset():
    skipped = [Skipped("train", "a", ""), Skipped("val", "b", ""), Skipped("train", "c", "")]
    assert count_skipped(skipped, "run/skipped.csv") == (
        "left out 2 of train, 1 of val: 3 image(s) that can't be read, listed in run/skipped.csv"
    )

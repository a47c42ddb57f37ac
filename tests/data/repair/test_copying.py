import os

import pytest

from msgformer.data.problems import Problem
from msgformer.data.repair.copying import counted, error_paths, place_file, refuse_others, unique_names
from msgformer.errors import UserError

BOX, IMAGE = (Problem("error", kind, f"{kind}.json", "is wrong; correct it") for kind in ("box", "image"))


def test_other_errors_are_refused():
    refuse_others([IMAGE, Problem("warning", "box", "b.json", "")], {"image"})
    with pytest.raises(UserError, match=r"^fix: not repairable .*: box\.json: is wrong; correct it$"):
        refuse_others([IMAGE, BOX], {"image"})


def test_paths_of_errors():
    note = Problem("note", "box", "other.json", "")
    assert error_paths([BOX, IMAGE, note], {"box"}) == {"box.json"}


def test_counts_above_zero_are_named():
    assert counted({"boxes cut": 2, "masks cut": 0}) == ["2 boxes cut"]


def test_names_differ_in_more_than_case_and_suffix():
    """Label maps are named by the stem of their image, and some file systems ignore case."""
    assert unique_names(["a/x.jpg", "b/x.jpg", "b/X.png", "c/y.jpg"]) == ["x.jpg", "x_2.jpg", "X_3.png", "y.jpg"]


def test_files_are_linked_or_copied(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("content")
    (tmp_path / "link").symlink_to("file")
    place_file(tmp_path / "link", tmp_path / "new" / "a")
    assert (tmp_path / "new" / "a").samefile(tmp_path / "file")

    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    place_file(tmp_path / "link", tmp_path / "new" / "b")
    assert (tmp_path / "new" / "b").read_text() == "content"
    assert not (tmp_path / "new" / "b").samefile(tmp_path / "file")

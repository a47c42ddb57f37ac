import pytest

from msgformer.errors import UserError
from msgformer.utils import output_path
from msgformer.utils.output_path import check_output_file, check_output_folder, replace_when_complete, stage_if_used


def refused(output, *markers, overwrite=False):
    with pytest.raises(UserError) as caught:
        check_output_folder(output, *markers, overwrite=overwrite)
    return str(caught.value)


def test_existing_files_are_refused_by_name(tmp_path):
    output, beside = tmp_path / "a.xml", tmp_path / "a.bin"
    check_output_file(output, beside, overwrite=False)
    beside.touch()
    with pytest.raises(UserError, match=r"^sheet: .*a\.bin exists; pass --overwrite or another --sheet$"):
        check_output_file(output, beside, overwrite=False, key="sheet")
    check_output_file(output, beside, overwrite=True)
    with pytest.raises(UserError, match="is a folder; give the path of a file"):
        check_output_file(tmp_path, overwrite=True)
    with pytest.raises(UserError, match=r"there is no folder .*none; create it first"):
        check_output_file(tmp_path / "none" / "a.xml", overwrite=True)


def test_only_folders_of_the_same_command_may_be_replaced(tmp_path):
    check_output_folder(None, "x.json", overwrite=False)
    check_output_folder(tmp_path / "new", "x.json", overwrite=False)
    check_output_folder(tmp_path, "x.json", overwrite=False)  # empty
    (tmp_path / "photo.jpg").touch()
    assert refused(tmp_path, "x.json").endswith("isn't empty; pass --overwrite or another --output")
    assert "has no x.json or y.json, so" in refused(tmp_path, "x.json", "y.json", overwrite=True)
    assert "is a file, not a folder" in refused(tmp_path / "photo.jpg", "x.json", overwrite=True)
    (tmp_path / "y.json").touch()
    check_output_folder(tmp_path, "x.json", "y.json", overwrite=True)


def test_a_complete_folder_replaces_the_old_one(tmp_path):
    output = tmp_path / "scores"
    output.mkdir()
    (output / "old.csv").touch()
    with stage_if_used(output) as folder:
        assert folder != output
        folder.mkdir()
        (folder / "new.csv").touch()
        assert [path.name for path in output.iterdir()] == ["old.csv"]
    assert [path.name for path in output.iterdir()] == ["new.csv"]
    assert [*tmp_path.iterdir()] == [output]


def test_files_beside_the_output_are_moved_with_it(tmp_path):
    output = tmp_path / "model.xml"
    output.write_text("old")
    with stage_if_used(output) as file:
        file.write_text("new")
        file.with_suffix(".bin").write_text("weights")
    assert (output.read_text(), output.with_suffix(".bin").read_text()) == ("new", "weights")
    assert len([*tmp_path.iterdir()]) == 2


@pytest.mark.parametrize("is_folder", [False, True])
def test_an_interrupted_command_leaves_the_old_output(tmp_path, is_folder):
    output = tmp_path / "output"
    if is_folder:
        output.mkdir()
    old = output / "old" if is_folder else output
    old.write_text("old")

    def interrupt():
        with replace_when_complete(output) as path:
            path.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert old.read_text() == "old"
    assert [*tmp_path.iterdir()] == [output]


def test_free_outputs_are_written_in_place(tmp_path):
    for output in (tmp_path / "new", tmp_path):
        with stage_if_used(output) as path:
            assert path == output


def test_the_output_is_moved_after_the_files_beside_it(tmp_path, monkeypatch):
    moved = []
    monkeypatch.setattr(output_path, "_replace", lambda path, _: moved.append(path.name))
    with replace_when_complete(tmp_path / "model.xml") as file:
        for name in ("a.bin", "model.xml", "z.bin"):
            file.with_name(name).touch()
    assert sorted(moved) == ["a.bin", "model.xml", "z.bin"]
    assert moved[-1] == "model.xml"

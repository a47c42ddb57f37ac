import pytest

from msgformer.errors import UserError
from msgformer.runs.output_folder import check_output, new_run


def test_default_folder_has_the_first_free_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [new_run(None, "my data").as_posix() for _ in range(2)] == ["runs/my-data-1", "runs/my-data-2"]


def test_given_folder_is_created(tmp_path):
    assert new_run(tmp_path / "a" / "b", "data").is_dir()


def test_used_folders_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"isn't empty; give another folder, or --resume"):
        check_output(tmp_path)
    with pytest.raises(UserError, match="is a file, not a folder"):
        check_output(tmp_path / "file")
    with pytest.raises(UserError, match=r"can't create .*file.*; give another --output"):
        new_run(tmp_path / "file" / "run", "data")

import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from msgformer.checkpoints.checkpoint_file import is_sealed
from msgformer.errors import UserError
from msgformer.weights.files import check_weights_output, check_weights_paths, write_output, write_safetensors


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.safetensors"
    path.touch()
    return path


def test_paths_that_can_be_used_pass(source, tmp_path):
    check_weights_paths(source, tmp_path / "out.safetensors", overwrite=False)
    check_weights_paths(source, tmp_path / "out.ckpt", ".ckpt", ".safetensors", overwrite=False)


def test_sources_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(UserError, match="is a directory, not a file"):
        check_weights_paths(tmp_path, tmp_path / "out.safetensors", overwrite=False)
    with pytest.raises(UserError, match="doesn't exist; give the path of a"):
        check_weights_paths(tmp_path / "missing.pth", tmp_path / "out.safetensors", overwrite=False)


def test_the_source_is_not_overwritten(source, tmp_path):
    os.link(source, tmp_path / "same.safetensors")
    with pytest.raises(UserError, match="is the checkpoint itself; give another path"):
        check_weights_paths(source, tmp_path / "same.safetensors", overwrite=True)


@pytest.mark.parametrize(
    ("name", "suffixes", "message"),
    [
        ("out.pth", (), r"has to end with \.safetensors; try 'out\.safetensors'"),
        ("out.pth", (".ckpt", ".pt2"), r"has to end with \.ckpt or \.pt2; try 'out\.ckpt'"),
        ("none/out.safetensors", (), "there is no folder .*none; create it first"),
        ("folder.safetensors", (), "is a folder; give the path of a file"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused(name, suffixes, message, tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(UserError, match=message):
        check_weights_output(tmp_path / name, *suffixes, overwrite=True)


def test_tensors_that_share_memory_are_written(tmp_path):
    base = torch.arange(6.0).view(2, 3)
    write_safetensors({"a": base, "b": base[0], "c": base.T}, tmp_path / "out.safetensors", {"model": "tiny"})
    with safe_open(tmp_path / "out.safetensors", "pt") as file:
        assert file.metadata() == {"model": "tiny"}
        assert torch.equal(file.get_tensor("b"), base[0])
        assert torch.equal(file.get_tensor("c"), base.T)
    assert not is_sealed(tmp_path / "out.safetensors")


def test_a_failed_write_changes_nothing(tmp_path):
    output = tmp_path / "out.safetensors"
    output.write_bytes(b"before")

    def save(path: Path):
        assert path.suffix == output.suffix
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"can't be written: .*No space left on device; make room"):
        write_output(output, save)
    assert output.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [output]


def test_a_file_has_the_permissions_of_the_users_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_safetensors({"a": torch.zeros(1)}, tmp_path / "out.safetensors", {})
    finally:
        os.umask(before)
    assert (tmp_path / "out.safetensors").stat().st_mode & 0o777 == 0o640

"""Detection of safetensors files, and reading of their metadata."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from msgformer.errors import UserError
from msgformer.utils.safetensors_header import is_safetensors, read_header


def test_the_header_of_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    save_file({"x": np.zeros(2)}, path, {"model": "tiny"})
    assert is_safetensors(path)
    assert read_header(path) == {"model": "tiny"}
    save_file({"x": np.zeros(2)}, path)
    assert read_header(path) == {}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a checkpoint of torch"])
def test_other_files_have_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.ckpt"
    path.write_bytes(content)
    assert not is_safetensors(path)
    assert read_header(path) == {}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file({"x": np.zeros(2)}, path)
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(UserError, match=r"cut\.safetensors.*convert it again"):
        read_header(path)

"""Exported files appear only when they are complete."""

import pytest

from msgformer.errors import UserError
from msgformer.exporters.writer import stage_output


def write_half(output):
    with stage_output(output) as path:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")


def test_a_failed_export_leaves_no_file(tmp_path):
    with pytest.raises(UserError, match=r"output '.*model\.onnx' can't be written: No space"):
        write_half(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.onnx").write_bytes(b"old")
    with stage_output(tmp_path / "old.onnx") as path:
        path.write_bytes(b"new")
    assert (tmp_path / "old.onnx").read_bytes() == b"new"

"""Exported files are opened by their suffix."""

import pytest

from msgformer.checkpoints.export_card import EXPORTED_SUFFIXES
from msgformer.errors import UserError
from msgformer.exporters.runtime import open_session


@pytest.mark.parametrize("suffix", EXPORTED_SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", b"<?xml"])
def test_damaged_files_are_named(suffix, content, tmp_path):
    for package, needed_by in (("onnx", ".onnx"), ("openvino", ".xml")):
        if suffix == needed_by:
            pytest.importorskip(package)
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    path.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(UserError, match="model"):
        open_session(path)

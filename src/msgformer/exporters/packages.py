"""Optional packages that are needed to write and run exported files."""

from __future__ import annotations

from pathlib import Path

from msgformer.checkpoints.export_card import Format
from msgformer.utils.packages import require_package

WRITING: dict[Format, tuple[tuple[str, str], ...]] = {
    "onnx": (("onnx", "onnx"), ("onnxscript", "onnx"), ("onnxruntime", "onnx")),
    "openvino": (("openvino", "openvino"), ("onnx", "onnx"), ("onnxscript", "onnx")),
    "torch-export": (),
    "aoti": (),
    "executorch": (("executorch", "executorch"),),
}
"""Packages for writing and verifying each format, with the extra that installs each."""

RUNNING: dict[str, tuple[tuple[str, str], ...]] = {
    ".onnx": (("onnx", "onnx"), ("onnxruntime", "onnx")),
    ".xml": (("openvino", "openvino"),),
    ".pte": (("executorch", "executorch"),),
}
"""Packages for running a file by its suffix, with the extra that installs each."""


def require_writer(format: Format, what: str) -> None:
    """Check that the packages for writing a format are installed.

    Args:
        format: The format.
        what: Option or action that needs it, for messages.

    Raises:
        UserError: A package is missing; the message names the extra that installs it.
    """
    for package, extra in WRITING[format]:
        require_package(package, extra, what)


def require_runtime(path: Path) -> None:
    """Check that the packages for running a file are installed.

    Raises:
        UserError: A package is missing; the message names the extra that installs it.
    """
    for package, extra in RUNNING.get(path.suffix.lower(), ()):
        require_package(package, extra, str(path))

"""What exported files need beyond this package's dependencies."""

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
"""What writing and checking a file of each format needs, and the extra that brings it."""

RUNNING: dict[str, tuple[tuple[str, str], ...]] = {
    ".onnx": (("onnx", "onnx"), ("onnxruntime", "onnx")),
    ".xml": (("openvino", "openvino"),),
    ".pte": (("executorch", "executorch"),),
}
"""What running a file by such a name needs."""


def require_writer(format: Format, what: str) -> None:
    """Make sure that a format can be written.

    Args:
        format: Which.
        what: What needs it, for messages.

    Raises:
        UserError: a package is missing; names the extra that brings it.
    """
    for package, extra in WRITING[format]:
        require_package(package, extra, what)


def require_runtime(path: Path) -> None:
    """Make sure that a file can be run.

    Raises:
        UserError: a package is missing; names the extra that brings it.
    """
    for package, extra in RUNNING.get(path.suffix.lower(), ()):
        require_package(package, extra, str(path))

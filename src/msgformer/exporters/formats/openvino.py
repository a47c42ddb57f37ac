"""OpenVINO files, an .xml with the graph and a .bin with the weights, converted from ONNX and run by OpenVINO."""

from __future__ import annotations

import io
import re
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msgformer.checkpoints.export_card import KEY, ExportCard
from msgformer.errors import UserError
from msgformer.exporters.session import Order, Session


def to_openvino(onnx_model: Any, card: ExportCard) -> Any:
    """Convert an ``onnx.ModelProto`` to an ``openvino.Model`` with its card.

    Args:
        onnx_model: The ONNX model.
        card: Card of the file.
    """
    import openvino

    model = openvino.Core().read_model(io.BytesIO(onnx_model.SerializeToString()))
    model.set_rt_info(card.to_json(), [KEY])
    return model


def save_openvino(model: Any, path: Path) -> None:
    """Write the .xml and the .bin, with weights in float32.

    Args:
        model: An ``openvino.Model``.
        path: Path of the .xml.

    Raises:
        OSError: A file can't be written.
    """
    import openvino

    try:
        openvino.save_model(model, str(path), compress_to_fp16=False)
    except RuntimeError as error:  # OpenVINO's only error for a full disk
        raise OSError(None, "OpenVINO can't write it", str(path)) from error


def read_openvino_card(path: Path) -> str | None:
    """Read the card in a file as JSON; None if there is none.

    Raises:
        UserError: The file can't be read.
    """
    model = _read(path)
    return model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None


def _read(path: Path) -> Any:
    import openvino

    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise UserError(f"{path} has no {weights.name} beside it, where its weights are; copy both")
    try:
        return openvino.Core().read_model(str(path), str(weights))
    except RuntimeError as error:
        raise UserError(
            f"{path} can't be read by OpenVINO: it is truncated or another kind of file; export it again"
        ) from error


class OpenVinoSession(Session):
    """Session of OpenVINO, computed in float32.

    Args:
        path: The .xml.
        card: Card of the file.
        device: "auto" or "cpu" for the CPU, "gpu" for an Intel GPU.
        threads: Number of threads; None for all cores.

    Raises:
        UserError: The file can't be run, or the device is not available.
    """

    def __init__(self, path: Path, card: ExportCard, device: str = "auto", threads: int | None = None) -> None:
        super().__init__(path, card)
        self._device = _device(device)
        # By default OpenVINO computes in bfloat16 if the CPU supports it.
        self._config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            self._config["INFERENCE_NUM_THREADS"] = threads
        self._model = _compile(_read(path), self._device, self._config)

    def run(self, images: Tensor) -> list[Tensor]:
        """Return the outputs for images [B, C, H, W]."""
        outputs = self._model(images.contiguous().numpy(), share_inputs=True)
        return [torch.from_numpy(outputs[number].copy()) for number in range(len(self._model.outputs))]

    def trace_orders(self, images: Tensor) -> list[Order]:
        """Return what the graph sorts for images [B, C, H, W], by a copy of the graph with additional outputs."""
        model = _read(self.path)
        sorts = [node for node in model.get_ordered_ops() if node.get_type_name() == "TopK"]
        if not sorts:
            return []
        added = model.add_outputs([port for node in sorts for port in (node.input_value(0), node.output(1))])
        first = len(self._model.outputs)
        outputs = _compile(model, self._device, self._config)(images.numpy())
        found = [torch.from_numpy(outputs[first + number].copy()) for number in range(len(added))]
        pairs = list(zip(found[::2], found[1::2], strict=True))
        positions = [_position(node.friendly_name) for node in sorts]
        return [pair for _, pair in sorted(zip(positions, pairs, strict=True), key=itemgetter(0))]


def _position(name: str) -> tuple[bool, int]:
    """Return a sort key of a node: "node_sort_2__1" (tokens) is the third, and "node_topk" (boxes) comes last."""
    number = re.search(r"\d+$", name.partition("__")[0])
    return "sort" not in name, int(number[0]) if number else 0


def _device(device: str) -> str:
    import openvino

    if device in ("auto", "cpu"):
        return "CPU"
    if device == "gpu" and any(name.startswith("GPU") for name in openvino.Core().available_devices):
        return "GPU"
    raise UserError(f"device: OpenVINO has no {device} here; give cpu")


def _compile(model: Any, device: str, config: dict[str, Any]) -> Any:
    import openvino

    return openvino.Core().compile_model(model, device, config)

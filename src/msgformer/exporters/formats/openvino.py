"""OpenVINO's files, an .xml with the graph and a .bin with the weights: made from ONNX, run by OpenVINO."""

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
    """An ``onnx.ModelProto`` as an ``openvino.Model`` that holds its card."""
    import openvino

    model = openvino.Core().read_model(io.BytesIO(onnx_model.SerializeToString()))
    model.set_rt_info(card.to_json(), [KEY])
    return model


def save_openvino(model: Any, path: Path) -> None:
    """Write the .xml and the .bin, weights in float32; raises OSError where that fails."""
    import openvino

    try:
        openvino.save_model(model, str(path), compress_to_fp16=False)
    except RuntimeError as error:  # which is all that it says of a full disk
        raise OSError(None, "OpenVINO can't write it", str(path)) from error


def read_openvino_card(path: Path) -> str | None:
    """The card in a file, if there is one.

    Raises:
        UserError: the file can't be read.
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
            f"{path} can't be read by OpenVINO: it is cut short or no such file; export it again"
        ) from error


class OpenVinoSession(Session):
    """A file in OpenVINO, computed in float32.

    Args:
        path: The .xml.
        card: What it says about itself.
        accelerator: "auto" or "cpu" for the CPU, "gpu" for a GPU of Intel's.
        threads: Threads; None: all cores.

    Raises:
        UserError: the file can't be used, or the device isn't there.
    """

    def __init__(self, path: Path, card: ExportCard, accelerator: str = "auto", threads: int | None = None) -> None:
        super().__init__(path, card)
        self._device = _device(accelerator)
        # Left to itself, it computes in bfloat16 where the CPU has units for that.
        self._config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            self._config["INFERENCE_NUM_THREADS"] = threads
        self._model = _compile(_read(path), self._device, self._config)

    def run(self, images: Tensor) -> list[Tensor]:
        """Outputs for images [B, C, H, W]."""
        outputs = self._model(images.contiguous().numpy(), share_inputs=True)
        return [torch.from_numpy(outputs[number].copy()) for number in range(len(self._model.outputs))]

    def trace_orders(self, images: Tensor) -> list[Order]:
        """What the graph sorted on the way, by a copy of it that tells."""
        model = _read(self.path)
        sorts = [node for node in model.get_ordered_ops() if node.get_type_name() == "TopK"]
        if not sorts:
            return []
        told = model.add_outputs([port for node in sorts for port in (node.input_value(0), node.output(1))])
        first = len(self._model.outputs)
        outputs = _compile(model, self._device, self._config)(images.numpy())
        found = [torch.from_numpy(outputs[first + number].copy()) for number in range(len(told))]
        pairs = list(zip(found[::2], found[1::2], strict=True))
        places = [_place(node.friendly_name) for node in sorts]
        return [pair for _, pair in sorted(zip(places, pairs, strict=True), key=itemgetter(0))]


def _place(name: str) -> tuple[bool, int]:
    """Where a sort stands in its model: "node_sort_2__1" of tokens is the third; "node_topk" of boxes comes after."""
    number = re.search(r"\d+$", name.partition("__")[0])
    return "sort" not in name, int(number[0]) if number else 0


def _device(accelerator: str) -> str:
    import openvino

    if accelerator in ("auto", "cpu"):
        return "CPU"
    if accelerator == "gpu" and any(name.startswith("GPU") for name in openvino.Core().available_devices):
        return "GPU"
    raise UserError(f"accelerator: OpenVINO has no {accelerator} here; give cpu")


def _compile(model: Any, device: str, config: dict[str, Any]) -> Any:
    import openvino

    return openvino.Core().compile_model(model, device, config)

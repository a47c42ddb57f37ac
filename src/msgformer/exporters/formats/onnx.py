"""ONNX files, written by torch's exporter and run by ONNX Runtime."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from msgformer.checkpoints.export_card import KEY, ExportCard
from msgformer.errors import UserError
from msgformer.exporters.formats.onnx_ops import OPSET, translations
from msgformer.exporters.program import INPUT, quiet
from msgformer.exporters.session import Order, Session


def to_onnx(program: ExportedProgram, card: ExportCard) -> Any:
    """Convert a captured model to an ``onnx.ModelProto`` with its card in the metadata.

    Args:
        program: The captured graph.
        card: Card of the file.

    Raises:
        UserError: An operator of the model can't be converted.
    """
    try:
        with quiet(), torch.no_grad():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                input_names=[INPUT],
                output_names=list(card.outputs),
                opset_version=OPSET,
                custom_translation_table=translations(),
                optimize=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise UserError(f"{card.model} can't be converted to ONNX ({reason}); try --format torch-export") from error
    assert exported is not None
    _fold(exported.model)
    model = exported.model_proto
    _clean(model, program)
    set_card(model, card)
    return model


def _fold(model: Any) -> None:
    """Fold slices of weights into constants; the exporter skips this for large weights."""
    from onnxscript import optimizer

    optimizer.optimize_ir(model, should_fold=lambda node: True if node.op_type == "Slice" else None)


def set_card(model: Any, card: ExportCard) -> None:
    """Write a card into a model's metadata, replacing an existing one.

    Args:
        model: An ``onnx.ModelProto``.
        card: Card of the file.
    """
    others = [entry for entry in model.metadata_props if entry.key != KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    model.metadata_props.add(key=KEY, value=card.to_json())


def _clean(model: Any, program: ExportedProgram) -> None:
    """Name the dynamic sizes of a model, and remove the exporter's notes, which contain paths of this machine."""
    names = {}
    (images,) = (node.meta["val"] for node in program.graph.nodes if node.name in program.graph_signature.user_inputs)
    for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
        if isinstance(images.shape[axis], torch.SymInt):
            names[str(images.shape[axis])] = name
    symbols = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b") if names else None
    graph = model.graph
    for value in [*graph.input, *graph.output, *graph.value_info]:
        del value.metadata_props[:]
        for size in value.type.tensor_type.shape.dim:
            if symbols and size.dim_param:
                size.dim_param = symbols.sub(lambda found: names[found[1]], size.dim_param)
    for part in [graph, *graph.node, *graph.initializer, *model.functions]:
        del part.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""


def read_onnx_card(path: Path) -> str | None:
    """Read the card in a file as JSON; None if there is none.

    Raises:
        UserError: The file can't be read.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise UserError(
            f"{path} can't be read as ONNX: it is truncated or another kind of file; export it again"
        ) from error
    return next((entry.value for entry in model.metadata_props if entry.key == KEY), None)


class OnnxSession(Session):
    """Session of ONNX Runtime.

    Args:
        path: The file.
        card: Card of the file.
        device: "auto" for the best that this build of ONNX Runtime supports, "cpu", "cuda" (also "gpu") or "cuda:N".
        threads: Threads per operator; None for all cores.

    Raises:
        UserError: The file can't be run, or the device is not available.
    """

    def __init__(self, path: Path, card: ExportCard, device: str = "auto", threads: int | None = None) -> None:
        super().__init__(path, card)
        self._providers, self._threads = _providers(device), threads
        self._session = _open(str(path), path, self._providers, threads)

    def run(self, images: Tensor) -> list[Tensor]:
        """Return the outputs for images [B, C, H, W]."""
        return [torch.from_numpy(output) for output in self._session.run(None, {INPUT: images.numpy()})]

    def trace_orders(self, images: Tensor) -> list[Order]:
        """Return what the graph sorts for images [B, C, H, W], by a copy of the graph with additional outputs."""
        import onnx

        model = onnx.load(self.path)
        wanted = []
        for node in model.graph.node:
            if node.op_type == "TopK" and len(node.output) == 2:
                wanted.append((node.input[0], node.output[1]))
        kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64)
        outputs = [
            onnx.helper.make_tensor_value_info(*value, None)
            for pair in wanted
            for value in zip(pair, kinds, strict=True)
        ]
        del model.graph.output[:]
        model.graph.output.extend(outputs)
        session = _open(model.SerializeToString(), self.path, self._providers, self._threads)
        found = [torch.from_numpy(output) for output in session.run(None, {INPUT: images.numpy()})] if outputs else []
        return list(zip(found[::2], found[1::2], strict=True))


def _providers(device: str) -> list[Any]:
    """Return the execution providers in order of preference, with the number of the GPU if it is given."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    gpus = [name for name in available if name in ("CUDAExecutionProvider", "ROCMExecutionProvider")]
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "gpu", "cuda") or not (index.isdigit() or not index):
        raise UserError(f"device: exported files run on auto, cpu, cuda or cuda:N, not on {device}")
    if kind in ("gpu", "cuda") and not gpus:
        raise UserError("device: this ONNX Runtime has no GPU; install onnxruntime-gpu, or give cpu")
    if kind == "cpu":
        return ["CPUExecutionProvider"]
    return [*((name, {"device_id": index}) if index else name for name in gpus), "CPUExecutionProvider"]


def _open(model: str | bytes, path: Path, providers: list[str], threads: int | None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # hides warnings about its own optimizer
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no common base class
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} can't be run by ONNX Runtime ({reason}); export it again") from error

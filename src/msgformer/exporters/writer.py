"""Export of a model to a file in any format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from msgformer.checkpoints.export_card import ExportCard
from msgformer.errors import UserError
from msgformer.exporters.dialect import prepare_for_format
from msgformer.exporters.program import capture
from msgformer.utils.output_path import replace_when_complete


def write_export(model: nn.Module, card: ExportCard, path: Path, calibration: Sequence[Tensor] = ()) -> None:
    """Export a model.

    Args:
        model: The model, in evaluation mode on the CPU, with one input tensor; for a detector or segmenter its graph
            variant, such as `GraphRCNN` or `GraphSegmenter`.
        card: Card of the file, which includes the format.
        path: Path of the file.
        calibration: Inputs [B, C, H, W] for quantization, if the card's precision is int8.

    Raises:
        UserError: The model, or one of its operators, can't be exported.
        OSError: The file can't be written.
    """
    model = prepare_for_format(model, card.format, is_quantized=bool(calibration))
    program = capture(model, card.sizes, card.channels)
    if card.format == "torch-export":
        from msgformer.exporters.formats.torch import save_program

        save_program(program, card, path)
    elif card.format == "aoti":
        from msgformer.exporters.formats.torch import save_compiled

        save_compiled(program, card, path)
    elif card.format == "executorch":
        from msgformer.exporters.formats.executorch import save_executorch

        save_executorch(program, card, path)
    else:
        from msgformer.exporters.formats.onnx import set_card, to_onnx

        onnx_model = to_onnx(program, card)
        if card.format == "openvino":
            from msgformer.exporters.formats.openvino import save_openvino, to_openvino

            ir_model = to_openvino(onnx_model, card)
            save_openvino(_quantized(ir_model, calibration), path)
            return
        onnx_model = _quantized(onnx_model, calibration)
        set_card(onnx_model, card)
        path.write_bytes(onnx_model.SerializeToString())


def _quantized(model: Any, calibration: Sequence[Tensor]) -> Any:
    if not calibration:
        return model
    from msgformer.exporters.int8 import quantize

    return quantize(model, calibration)


@contextmanager
def stage_output(output: Path) -> Iterator[Path]:
    """Yield a temporary path to write a file to; on success, move it and the files beside it to ``output``.

    Raises:
        UserError: The file can't be written, for lack of space or permission.
    """
    try:
        with replace_when_complete(output) as path:
            yield path
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"output '{output}' can't be written: {reason}; make room or give another path") from error

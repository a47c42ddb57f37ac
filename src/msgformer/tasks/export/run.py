"""Export of a model to a file, which is verified before it is moved to its path."""

from __future__ import annotations

from pathlib import Path

import torch

from msgformer.checkpoints.export_card import ExportCard, Format
from msgformer.exporters.program import export_sizes
from msgformer.exporters.runtime import open_session
from msgformer.exporters.verify import Verification
from msgformer.exporters.writer import stage_output, write_export
from msgformer.optimized.optimize import optimize
from msgformer.tasks.export.images import calibration_batches, real_images
from msgformer.tasks.export.source import ExportSource


def run_export(
    source: ExportSource,
    format: Format,
    path: Path,
    batch_size: int,
    calibration: Path | None,
    *,
    dynamic_batch: bool,
    dynamic_size: bool,
    int8: bool,
) -> tuple[ExportCard, str, Verification]:
    """Write a model to a file, compare it with the model, and move it to its path.

    Args:
        source: The model.
        format: Format of the file.
        path: The file.
        batch_size: Images per batch; ignored with ``dynamic_batch``.
        calibration: Image or folder of images to calibrate with; None for those that the run held out.
        dynamic_batch: Allow any number of images per batch.
        dynamic_size: Allow images of any size.
        int8: Quantize weights and activations.

    Returns:
        The file's card, a description of the images of the comparison, and the comparison.

    Raises:
        UserError: See `msgformer.export`.
    """
    card = export_card(source, format, batch_size, dynamic_batch=dynamic_batch, dynamic_size=dynamic_size, int8=int8)
    images, description = real_images(source)
    batch = card.sizes.fixed_batch or 1
    batches = calibration_batches(calibration, source, batch) if int8 else []
    inputs = torch.stack([source.transform(image) for image in images])
    with stage_output(path) as unfinished:
        # ExecuTorch 1.5 computes different results from an optimized module, which uses PyTorch's operators for CPUs.
        module = source.module if format == "executorch" else optimize(source.module)
        write_export(source.task.as_graph(module), card, unfinished, batches)
        found = source.task.verify(source.module, open_session(unfinished, "cpu", trust=True), inputs)
    return card, description, found


def export_card(
    source: ExportSource,
    format: Format,
    batch_size: int,
    *,
    dynamic_batch: bool = False,
    dynamic_size: bool = False,
    int8: bool = False,
) -> ExportCard:
    """Return the card of the exported file of a model.

    Args:
        source: The model.
        format: Format of the file.
        batch_size: Images per batch; ignored with ``dynamic_batch``.
        dynamic_batch: Allow any number of images per batch.
        dynamic_size: Allow images of any size.
        int8: Quantize weights and activations.

    Raises:
        UserError: The model's task doesn't support one of the options.
    """
    card = source.card
    source.task.check_format(format, int8=int8, single=batch_size == 1 and not dynamic_batch)
    sizes = export_sizes(source.module, source.size, batch_size, dynamic_batch=dynamic_batch, dynamic_size=dynamic_size)
    return ExportCard(
        format=format,
        task=card.task,
        model=card.model,
        classes=card.classes,
        preprocessing=source.preprocessing,
        sizes=sizes,
        channels=source.channels,
        outputs=source.outputs,
        mean=source.mean,
        std=source.std,
        precision="int8" if int8 else "float32",
        version=card.version,
    )

"""Images for checking and calibrating an export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from msgformer.data.bundled.scenes import PHOTOGRAPHS, load_photograph
from msgformer.data.files.inputs import find_inputs
from msgformer.errors import UserError
from msgformer.tasks.export.source import ExportSource
from msgformer.utils.spacing import evenly_spaced

if TYPE_CHECKING:
    from PIL import Image

    from msgformer.data.files.value_range import ValueRange

NUM_CHECK_IMAGES, MAX_CALIBRATION_IMAGES = 8, 300
"""Number of images for checking an export, and largest number for calibrating it."""


def real_images(source: ExportSource) -> tuple[list[Image.Image], str]:
    """Return images to check an export on: held-out images of the run or, without them, bundled photographs.

    Args:
        source: The model.

    Returns:
        The images, and a description of them.
    """
    held_out = _held_out(source, NUM_CHECK_IMAGES)
    if held_out:
        return held_out, "images that the run held out"
    names = [name for subset in PHOTOGRAPHS.values() for name in subset][:NUM_CHECK_IMAGES]
    return [load_photograph(name) for name in names], "photographs of scikit-learn and scikit-image"


def calibration_batches(given: Path | None, source: ExportSource, batch: int) -> list[Tensor]:
    """Return batches of inputs [batch, C, H, W] for calibrating the quantization.

    Args:
        given: Image or folder of images; None for those that the run held out. If there are more than
            `MAX_CALIBRATION_IMAGES`, that many evenly spaced ones are used, so that images sorted by class give all
            classes.
        source: The model.
        batch: Inputs per batch; the last batch is padded with copies of the last input.

    Raises:
        UserError: There are no images.
    """
    if given is None:
        images = _held_out(source, MAX_CALIBRATION_IMAGES)
    else:
        images = _given_images(given, MAX_CALIBRATION_IMAGES, source.card.value_range)
    if not images:
        raise UserError("int8 needs images to calibrate on; give --calibration FOLDER")
    inputs = [source.transform(image) for image in images]
    return [torch.stack(_pad_batch(inputs[first : first + batch], batch)) for first in range(0, len(inputs), batch)]


def _pad_batch(inputs: Sequence[Tensor], count: int) -> list[Tensor]:
    return [*inputs, *[inputs[-1]] * (count - len(inputs))]


def _held_out(source: ExportSource, count: int) -> list[Image.Image]:
    """Return evenly spaced held-out images of a run; none if they don't exist any more."""
    if source.run is None or not source.card.data:
        return []
    try:
        total, load = source.task.held_out_images(source.card, source.run)
        return [load(index) for index in evenly_spaced(total, count)]
    except UserError:  # the data was moved or removed
        return []


def _given_images(path: Path, count: int, value_range: ValueRange | None) -> list[Image.Image]:
    """Return evenly spaced images of a file or folder."""
    total = sum(1 for _ in find_inputs([str(path)]))  # counted first, because frames of a video carry their pixels
    chosen = set(evenly_spaced(total, count))
    inputs = enumerate(find_inputs([str(path)]))
    return [one.load(value_range=value_range) for index, one in inputs if index in chosen]

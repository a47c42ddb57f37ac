"""The pictures that an export is checked and calibrated on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from msgformer.api.dense_task import data_folder
from msgformer.data.detection_sets import open_detection_val
from msgformer.data.inputs import find_inputs
from msgformer.data.scenes import PHOTOGRAPHS, load_photograph
from msgformer.data.segmentation_sets import open_subset
from msgformer.data.subsets import reopen_validation
from msgformer.errors import UserError
from msgformer.training.checkpoint import ModelCard

if TYPE_CHECKING:
    from PIL import Image

CHECKED, CALIBRATED = 8, 300
"""Pictures to check an export on, and most to calibrate it on."""


def real_pictures(run: Path | None, card: ModelCard) -> tuple[list[Image.Image], str]:
    """Pictures to check an export on: some that the run held out, or else photographs that packages bring along.

    Args:
        run: The run's folder, if there is one.
        card: What its checkpoint says.

    Returns:
        The pictures, and what they are.
    """
    held_out = _held_out(run, card, CHECKED)
    if held_out:
        return held_out, "pictures that the run held out"
    names = [name for subset in PHOTOGRAPHS.values() for name in subset][:CHECKED]
    return [load_photograph(name) for name in names], "photographs of scikit-learn and scikit-image"


def calibration_batches(
    given: Path | None, run: Path | None, card: ModelCard, transform: Callable[[Image.Image], Tensor], batch: int
) -> list[Tensor]:
    """Inputs [batch, C, H, W] to quantise with.

    Args:
        given: Image or folder of images; None for those that the run held out.
        run: The run's folder, if there is one.
        card: What its checkpoint says.
        transform: From a picture to an input.
        batch: Inputs at a time; the last ones are filled up.

    Raises:
        UserError: there are none.
    """
    if given is not None:
        pictures = [one.load() for one in islice(find_inputs([str(given)]), CALIBRATED)]
    else:
        pictures = _held_out(run, card, CALIBRATED)
    if not pictures:
        raise UserError("int8 needs pictures to calibrate on; give --calibration FOLDER")
    inputs = [transform(picture) for picture in pictures]
    return [torch.stack(_filled(inputs[first : first + batch], batch)) for first in range(0, len(inputs), batch)]


def _filled(inputs: Sequence[Tensor], count: int) -> list[Tensor]:
    return [*inputs, *[inputs[-1]] * (count - len(inputs))]


def _held_out(run: Path | None, card: ModelCard, count: int) -> list[Image.Image]:
    """Some of the pictures that a run held out, from all over; none where they aren't at hand."""
    if run is None or not card.data:
        return []
    try:
        total, load = _open(run, card)
        return [load(index) for index in _spread(total, count)]
    except UserError:  # moved or removed since: photographs do
        return []


def _open(run: Path, card: ModelCard) -> tuple[int, Callable[[int], Image.Image]]:
    """How many pictures a run held out, and what loads one."""
    if card.task == "classify":
        pictures = reopen_validation(run, card.data["path"], card.classes, card.data["val_fraction"], card.data["seed"])
        return len(pictures.labels), pictures.load
    folder = data_folder(card.task, card.data["path"])
    if card.task == "detect":
        instances = open_detection_val(folder, card.classes)
        return len(instances), instances.load
    labelled = open_subset(folder, "val", card.preprocessing["reduce_zero_label"])
    return len(labelled), labelled.load


def _spread(total: int, count: int) -> Iterable[int]:
    return range(0, total, max(1, total // count))[:count]

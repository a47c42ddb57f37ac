"""Common type of the models to export, of any task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from msgformer.checkpoints.card import ModelCard
from msgformer.tasks import Task, get_task

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class ExportSource:
    """A model to export.

    Attributes:
        module: The unoptimized model in evaluation mode, on the CPU.
        card: The model card.
        size: Height and width of its images.
        transform: Converts an RGB image to an input [C, H, W] of this size.
        preprocessing: Preprocessing for this size, as recorded in the exported file.
        channels: Number of channels of the input.
        mean: Mean per channel for the normalization of pixels in 0..1.
        std: Standard deviation per channel, likewise.
        outputs: Names of the outputs, in order.
        run: Folder of the model's run, which records the held-out images; None if there is none.
    """

    module: nn.Module
    card: ModelCard
    size: tuple[int, int]
    transform: Callable[[Image.Image], Tensor]
    preprocessing: dict[str, Any]
    channels: int = 3
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    outputs: tuple[str, ...] = ("logits",)
    run: Path | None = None

    @property
    def task(self) -> Task:
        """The model's task."""
        return get_task(self.card.task)

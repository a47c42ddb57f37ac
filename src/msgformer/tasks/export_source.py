"""A model in the form in which it is exported, whatever its task."""

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
        card: What is known about it.
        size: Height and width of its images.
        transform: From an RGB image to an input [C, H, W] of this size.
        preprocessing: How an image becomes an input, as a file of this size records it.
        channels: Channels of the input.
        mean: Mean by channel that the input is normalized with, for pixels in 0..1.
        std: Standard deviation, likewise.
        outputs: Names of the outputs, in order.
        run: Folder of its run, where the images that it held out are on record; None without one.
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

"""What a training is put together from; one subclass per task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lightning import Trainer

from msgformer.data.locations import parse_location
from msgformer.data.module import ImageData
from msgformer.errors import UserError
from msgformer.training.module import Plan, Training

if TYPE_CHECKING:
    from msgformer.api.train_settings import TrainSettings

CLASSES_FILE = "classes.txt"


class TrainingSetup(ABC):
    """Data, model and scores of one training. Creating it opens and checks the data.

    Args:
        settings: Checked settings.
        resume: Folder of a run that is resumed; None for a new run.

    Attributes:
        classes: Class names, in the order of the outputs.
        scores: Names of the scores that the result reports, of those that are logged as ``val/NAME``.
        bundled: Name of the data that is used without a data folder.
    """

    classes: tuple[str, ...]
    scores: Sequence[str]
    bundled: str

    def __init__(self, settings: TrainSettings, resume: Path | None) -> None:
        self.settings = settings
        self.resume = resume

    @property
    def title(self) -> str:
        """What a run folder is named after."""
        return parse_location(self.settings.data).title if self.settings.data else self.bundled

    @abstractmethod
    def image_names(self) -> dict[str, list[str]]:
        """What the images of "train" and "val" are called, in order."""

    @abstractmethod
    def build(self, trainer: Trainer, *, fresh: bool) -> tuple[Training, ImageData]:
        """The model with all that trains it, and the batches.

        Args:
            trainer: Tells how many processes there are.
            fresh: Whether the weights are begun with, and not replaced by a checkpoint's in a moment.
        """

    @abstractmethod
    def record(self, run: Path) -> None:
        """Write down in a new run folder which images are trained on and which are held out."""

    def batch_size(self, trainer: Trainer, *, even: bool = False) -> int:
        """Images a batch and process: as asked for, or all that a process has if they are fewer.

        Args:
            trainer: Tells how many processes there are.
            even: Whether it must be an even number.

        Raises:
            UserError: it must be even, and what is asked for is odd; or there are too few images.
        """
        available = len(self.image_names()["train"]) // trainer.world_size
        size = min(self.settings.batch_size, available)
        if even and size % 2:
            if size == self.settings.batch_size:
                raise UserError(f"batch_size must be even for mixup and cutmix, not {size}; change it or turn both off")
            size -= 1
        if size < 1:
            raise UserError(f"there are too few training images ({available} a process) for a batch")
        return size

    def plan(self, trainer: Trainer, batch_size: int) -> Plan:
        """How long is trained: the part of the settings that depends on the number of images and processes."""
        settings, together = self.settings, batch_size * trainer.world_size
        batches = len(self.image_names()["train"]) // together
        optim, from_scratch = settings.optim, not settings.pretrained and settings.init_from is None
        if from_scratch and not optim.layer_decay_scratch:
            optim = replace(optim, layer_decay=None)
        return Plan(
            optim,
            total_batch=together * settings.trainer.accumulate,
            epochs=settings.epochs,
            steps_per_epoch=-(-batches // settings.trainer.accumulate),
            seed=settings.seed,
        )

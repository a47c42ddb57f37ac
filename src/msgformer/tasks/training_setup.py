"""Common base of the training setups: data, model and scores of a training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lightning import Trainer

from msgformer.data.files.locations import parse_location
from msgformer.data.loading.loader import default_workers
from msgformer.data.loading.module import ImageData
from msgformer.data.loading.split import SPLIT_FILE, SplitRule
from msgformer.errors import UserError
from msgformer.training.module import Plan, Training

if TYPE_CHECKING:
    from msgformer.runs.train_settings import TrainSettings

CLASSES_FILE = "classes.txt"


def read_classes(run: Path | None) -> list[str] | None:
    """Read the classes of a run that is resumed, in its order.

    Args:
        run: The run folder; None for a new run.

    Returns:
        The names, or None if there is no run, or if a name had to be escaped in the file.
    """
    path = None if run is None else run / CLASSES_FILE
    if path is None or not path.is_file():
        return None
    names = path.read_text(encoding="utf-8").split("\n")[:-1]
    return None if any("\\" in name for name in names) else names


class TrainingSetup(ABC):
    """Data, model and scores of one training. Creating it opens and checks the data.

    Args:
        settings: Checked settings.
        resume: Folder of a run that is resumed; None for a new run.

    Attributes:
        classes: Class names, in the order of the outputs.
        scores: Names of the scores in the result, which are logged as ``val/NAME``.
        bundled: Name of the bundled data.
    """

    classes: tuple[str, ...]
    scores: Sequence[str]
    bundled: str

    def __init__(self, settings: TrainSettings, resume: Path | None) -> None:
        self.settings = settings
        self.resume = resume

    def split_rule(self) -> SplitRule:
        """Return how data without validation images is split; a resumed run reads its own record of a split file."""
        rule = self.settings.split_rule
        if self.resume is not None and rule.file is not None:  # the user's file may have changed
            return replace(rule, file=self.resume / SPLIT_FILE)
        return rule

    @property
    def title(self) -> str:
        """Base of the run folder's name, after the data."""
        return parse_location(self.settings.data).title if self.settings.data else self.bundled

    @abstractmethod
    def image_names(self) -> dict[str, list[str]]:
        """Return the names of the images of "train" and "val", in order."""

    @abstractmethod
    def build(self, trainer: Trainer, *, fresh: bool) -> tuple[Training, ImageData]:
        """Return the Lightning module and the data module.

        Args:
            trainer: Knows the number of processes.
            fresh: Whether to initialize the weights as configured; False where a checkpoint replaces them.
        """

    @abstractmethod
    def record(self, run: Path) -> None:
        """Record the training images and the held-out images in a new run folder."""

    @property
    def workers(self) -> int:
        """Number of worker processes that load images."""
        return default_workers() if self.settings.workers is None else self.settings.workers

    def batch_size(self, trainer: Trainer, *, even: bool = False) -> int:
        """Return the number of images per batch and process: ``batch_size``, or fewer if there are fewer images.

        Args:
            trainer: Knows the number of processes.
            even: Whether the number must be even.

        Raises:
            UserError: ``batch_size`` is odd and must be even, or there are too few images.
        """
        available = len(self.image_names()["train"]) // trainer.world_size
        size = min(self.settings.batch_size, available)
        if even and size % 2:
            if size == self.settings.batch_size:
                raise UserError(f"batch_size must be even for mixup and cutmix, not {size}; change it or turn both off")
            size -= 1
        if size < 1:
            raise UserError(f"data: too few training images ({available} per process) for one batch; give more images")
        return size

    def plan(self, trainer: Trainer, batch_size: int) -> Plan:
        """Return the schedule of the training, which depends on the number of images and processes.

        Args:
            trainer: Knows the number of processes.
            batch_size: Images per batch and process.
        """
        settings, global_batch = self.settings, batch_size * trainer.world_size
        batches = len(self.image_names()["train"]) // global_batch
        optim, from_scratch = settings.optim, not settings.pretrained and settings.init_from is None
        if from_scratch and not optim.layer_decay_scratch:
            optim = replace(optim, layer_decay=None)
        return Plan(
            optim,
            total_batch=global_batch * settings.trainer.accumulate_grad_batches,
            epochs=settings.epochs,
            steps_per_epoch=-(-batches // settings.trainer.accumulate_grad_batches),
            seed=settings.seed,
        )

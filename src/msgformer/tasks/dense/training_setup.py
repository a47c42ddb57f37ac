"""Common base of the training setups of detection and segmentation."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from msgformer.checkpoints.card import ModelCard
from msgformer.data.detection.instances import InstanceSet
from msgformer.data.loading.split import write_split
from msgformer.data.problems import Problem, raise_errors
from msgformer.data.segmentation.label_maps import LabeledImages
from msgformer.data.value_checks import dense_values
from msgformer.errors import UserError
from msgformer.models.registry import known_model
from msgformer.tasks import get_task
from msgformer.tasks.initial_weights import load_dense_weights
from msgformer.tasks.training_setup import TrainingSetup

if TYPE_CHECKING:
    from msgformer.runs.train_settings import TrainSettings


class DenseSetup(TrainingSetup):
    """Setup of a training on a folder with annotated training and validation images."""

    bundled = "scenes"
    train: InstanceSet | LabeledImages
    val: InstanceSet | LabeledImages
    image_group: str
    """Group of options of the images, which has ``value_range``."""
    test: InstanceSet | None = None

    def __init__(self, settings: TrainSettings, resume: Path | None) -> None:
        super().__init__(settings, resume)
        if resume is None and settings.optim.layer_decay is not None:  # runs of earlier versions may have it
            raise UserError(f"optim.layer_decay has no effect with --task {settings.task}; leave it out")

    def image_names(self) -> dict[str, list[str]]:
        """Return paths relative to the data folder."""
        sources = {"train": self.train, "val": self.val}
        return {subset: [source.name(index) for index in range(len(source))] for subset, source in sources.items()}

    def record(self, run: Path) -> None:
        """Write ``split.csv``; an image has no class of its own."""
        names = self.image_names()
        if self.test is not None:
            names["test"] = [self.test.name(index) for index in range(len(self.test))]
        write_split(run, {subset: (found, [""] * len(found)) for subset, found in names.items()})

    def check_files(self) -> None:
        """Check quickly that the images can be used, and measure the range of their values.

        Raises:
            UserError: An image or annotation can't be used.
        """
        for source in (self.train, self.val):
            raise_errors(self.find_problems(source))
        self.choose_value_range(
            self.image_group, lambda: {"train": dense_values(self.train), "val": dense_values(self.val)}
        )

    @abstractmethod
    def find_problems(self, source: Any) -> list[Problem]:
        """Check the files of a subset quickly, and return the problems."""

    def card(self, arguments: dict[str, Any], images: dict[str, Any]) -> ModelCard:
        """Return the model card for the checkpoints.

        Args:
            arguments: Arguments of the model's constructor.
            images: Preprocessing of the images.
        """
        settings = self.settings
        data = {"path": settings.data, "seed": settings.seed}
        name = known_model(settings.model)
        classes, plugins = list(self.classes), settings.plugins
        return ModelCard(name, arguments, classes, images, data, task=settings.task, plugins=plugins)

    def build_model(self, card: ModelCard, *, fresh: bool) -> nn.Module:
        """Build the model that a card describes.

        Args:
            card: The card.
            fresh: Whether to initialize the backbone as configured.
        """
        settings = self.settings
        start: dict[str, Any] = {"pretrained": settings.pretrained} if fresh else {}
        start["grad_checkpointing"] = settings.trainer.grad_checkpointing
        model = get_task(card.task).build_model(card, **start)
        if fresh and settings.init_from is not None:
            load_dense_weights(model, settings.init_from, self.classes, settings.task)
        if settings.trainer.compile:
            model.get_submodule("backbone").compile()  # the heads' shapes differ from image to image
        return model

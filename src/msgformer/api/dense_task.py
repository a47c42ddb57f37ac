"""What detection and segmentation have in common when a training is put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from msgformer.api.task import Task
from msgformer.data.dense_checks import check_before_training
from msgformer.data.instances import InstanceSet
from msgformer.data.label_maps import LabelledImages
from msgformer.data.module import default_workers
from msgformer.data.problems import refuse_errors
from msgformer.data.scene_folders import cached_scenes
from msgformer.data.scenes import EMBEDDED
from msgformer.data.split import write_split
from msgformer.training.build import known_model
from msgformer.training.checkpoint import ModelCard
from msgformer.training.dense_build import build_dense


def data_folder(task: str, data: str | None) -> Path:
    """The data folder; without one the embedded scenes, which are the same for every run."""
    return cached_scenes(task, EMBEDDED[task], seed=0) if data is None else Path(data)


class DenseTask(Task):
    """A task on a folder with training and validation images, whatever is annotated in them."""

    embedded = "scenes"
    train: InstanceSet | LabelledImages
    val: InstanceSet | LabelledImages

    def image_names(self) -> dict[str, list[str]]:
        """Paths relative to the data folder."""
        sources = {"train": self.train, "val": self.val}
        return {subset: [source.name(index) for index in range(len(source))] for subset, source in sources.items()}

    def record(self, run: Path) -> None:
        """Write ``split.csv``; an image has no class of its own."""
        names = self.image_names()
        write_split(run, {subset: (found, [""] * len(found)) for subset, found in names.items()})

    def check_files(self) -> None:
        """Make sure that the images can be used, as far as that is quick; raises UserError otherwise."""
        for source in (self.train, self.val):
            refuse_errors(check_before_training(source))

    @property
    def workers(self) -> int:
        """Processes that read images."""
        return default_workers() if self.settings.workers is None else self.settings.workers

    def card(self, arguments: dict[str, Any], images: dict[str, Any]) -> ModelCard:
        """What a checkpoint says about the model.

        Args:
            arguments: That the model is made with.
            images: How pictures are brought to its input.
        """
        settings = self.settings
        data = {"path": settings.data, "seed": settings.seed}
        name = known_model(settings.model)
        classes, plugins = list(self.classes), settings.plugins
        return ModelCard(name, arguments, classes, images, data, task=settings.task, plugins=plugins)

    def build_model(self, card: ModelCard, *, fresh: bool) -> nn.Module:
        """The model that a card describes, its backbone begun with what the settings say if it is ``fresh``."""
        settings = self.settings
        start: dict[str, Any] = {"pretrained": settings.pretrained, "checkpoint": settings.init_from} if fresh else {}
        start["grad_checkpointing"] = settings.trainer.grad_checkpointing
        model = build_dense(card.task, card.model, len(card.classes), card.model_args, **start)
        if settings.trainer.compile:
            model.get_submodule("backbone").compile()  # the heads' shapes differ from image to image
        return model

"""Training setup of segmentation."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import Trainer
from typing_extensions import override

from msgformer.data.dense.checks import check_label_maps_quickly
from msgformer.data.dense.samples import SegmentationSamples, collate
from msgformer.data.loading.balance import rarest_classes
from msgformer.data.loading.module import ImageData
from msgformer.data.problems import Problem
from msgformer.data.segmentation.label_maps import LabeledImages
from msgformer.data.segmentation.sets import open_segmentation, resolve_reduce_zero
from msgformer.data.segmentation.transforms import SegmentEval, SegmentTrain
from msgformer.heads.segmentation.segmenter import check_batch
from msgformer.tasks import get_task
from msgformer.tasks.dense.data import data_folder
from msgformer.tasks.dense.training_setup import DenseSetup
from msgformer.tasks.segmentation.class_weights import resolve_class_weights
from msgformer.tasks.segmentation.training_module import SegmentationTraining

if TYPE_CHECKING:
    from msgformer.runs.train_settings import TrainSettings


class SegmentationSetup(DenseSetup):
    """Setup of a training on images with label maps, in ADE20K's or Cityscapes' layout.

    Args:
        settings: Checked settings.
        resume: Folder of a run that is resumed; None for a new run.
    """

    scores = ("miou", "pixel_accuracy", "mean_accuracy", "loss")
    train: LabeledImages
    val: LabeledImages
    image_group = "segment_images"

    def __init__(self, settings: TrainSettings, resume: Path | None) -> None:
        super().__init__(settings, resume)
        folder = data_folder(get_task(settings.task), settings.data)
        images = settings.segment_images
        # Bundled scenes that an older version has cached lack labels.json, from which "auto" is resolved.
        if settings.data is None and images.reduce_zero_label == "auto":
            images = replace(images, reduce_zero_label=True)
        # The run records the resolved value, so that resuming and evaluating use the value of the training.
        images = replace(images, reduce_zero_label=resolve_reduce_zero(folder, images))
        self.settings = replace(settings, segment_images=images)
        self.train, self.val = open_segmentation(folder, images)
        self.classes = self.train.classes
        self.check_files()

    @override
    def find_problems(self, source: LabeledImages) -> list[Problem]:
        """Check image files and label maps."""
        return check_label_maps_quickly(source)

    @override
    def build(self, trainer: Trainer, *, fresh: bool) -> tuple[SegmentationTraining, ImageData]:
        """Return the Lightning module of a segmenter and its data module.

        Args:
            trainer: Knows the number of processes.
            fresh: Whether to initialize the weights as configured; False where a checkpoint replaces them.
        """
        settings = self.settings
        batch_size = self.batch_size(trainer)
        if not (settings.trainer.sync_batchnorm and trainer.world_size > 1):
            check_batch(settings.segment.head, batch_size, (settings.segment_images.crop,) * 2)
        card = self.card(self._arguments(), settings.to_dict()["segment_images"])
        model = self.build_model(card, fresh=fresh)
        data = self._build_data(model, batch_size)
        return SegmentationTraining(model, card, self.plan(trainer, data.batch_size), self.train.name), data

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of `msgformer.create_segmenter` and of the backbone's constructor."""
        weights = resolve_class_weights(self.settings.segment.class_weights, self.train)
        segment = {**asdict(self.settings.segment), "class_weights": weights}
        return {**segment, **self.settings.to_dict()["model_args"]}

    def _train_transform(self, model: Any) -> SegmentTrain:
        return SegmentTrain(self.settings.segment_images, model.mean, model.std, self.train.ignored)

    def _rarest_classes(self) -> list[int]:
        """Read all label maps, and return the rarest class of each image."""
        found = []
        for index in range(len(self.train)):
            labels = self.train.target(index, self.train.load(index).size)
            found.append([label for label in labels.unique().tolist() if label < len(self.classes)])
        return rarest_classes(found)

    def _build_data(self, model: Any, batch_size: int) -> ImageData:
        settings, images = self.settings, self.settings.segment_images
        return ImageData(
            SegmentationSamples(self.train, self._train_transform(model), settings.seed, images.value_range),
            SegmentationSamples(self.val, SegmentEval(images, model.mean, model.std), value_range=images.value_range),
            batch_size,
            self.workers,
            settings.seed,
            settings.trainer.start_method,
            collate=collate,
            balance=self._rarest_classes() if settings.balance == "sampler" else None,
        )

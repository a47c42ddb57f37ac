"""Training setup of detection."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import Trainer
from typing_extensions import override

from msgformer.data.dense.checks import check_instances_quickly
from msgformer.data.dense.samples import DetectionSamples, collate
from msgformer.data.detection.instances import InstanceSet
from msgformer.data.detection.sets import open_detection
from msgformer.data.detection.transforms import detect_eval_transform, detect_train_transform
from msgformer.data.loading.grouping import GroupedData
from msgformer.data.loading.module import ImageData
from msgformer.data.problems import Problem
from msgformer.tasks import get_task
from msgformer.tasks.dense.data import data_folder
from msgformer.tasks.dense.training_setup import DenseSetup
from msgformer.tasks.detection.ground_truth import coco_ground_truth
from msgformer.tasks.detection.training_module import DetectionTraining

if TYPE_CHECKING:
    from msgformer.runs.train_settings import TrainSettings


class DetectionSetup(DenseSetup):
    """Setup of a training on images with annotated objects, in COCO's or Pascal VOC's layout.

    Args:
        settings: Checked settings.
        resume: Folder of a run that is resumed; None for a new run.
    """

    train: InstanceSet
    val: InstanceSet

    def __init__(self, settings: TrainSettings, resume: Path | None) -> None:
        super().__init__(settings, resume)
        train, self.val = open_detection(data_folder(get_task(settings.task), settings.data))
        self.with_masks = "mask" in settings.detect.head
        self.train = train.trainable(self.with_masks)
        self.classes = self.train.classes
        self.scores = ("box_ap", "box_ap50", "box_ap75", *(("mask_ap",) if self.with_masks else ()))
        self.check_files()

    @override
    def find_problems(self, source: InstanceSet) -> list[Problem]:
        """Check the image files."""
        return check_instances_quickly(source)

    @override
    def build(self, trainer: Trainer, *, fresh: bool) -> tuple[DetectionTraining, ImageData]:
        """Return the Lightning module of a detector and its data module.

        Args:
            trainer: Knows the number of processes.
            fresh: Whether to initialize the weights as configured; False where a checkpoint replaces them.
        """
        card = self.card(self._arguments(), {})
        model = self.build_model(card, fresh=fresh)
        data = self._build_data(self.batch_size(trainer))
        plan = self.plan(trainer, data.batch_size)
        return DetectionTraining(model, card, plan, coco_ground_truth(self.val), self.train.name), data

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of `msgformer.create_detector` and of the backbone's constructor."""
        settings, images = self.settings, self.settings.detect_images
        sizes = {"min_size": images.test_side, "max_size": images.test_max_side}
        return {**asdict(settings.detect), **sizes, **settings.to_dict()["model_args"]}

    def _build_data(self, batch_size: int) -> ImageData:
        settings, images = self.settings, self.settings.detect_images
        return GroupedData(
            DetectionSamples(self.train, detect_train_transform(images), self.with_masks, settings.seed),
            DetectionSamples(self.val, detect_eval_transform, with_masks=False),
            batch_size,
            self.workers,
            settings.seed,
            settings.trainer.start_method,
            collate=collate,
            upright=[image.height > image.width for image in self.train.images] if images.group_shapes else None,
        )

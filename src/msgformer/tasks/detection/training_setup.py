"""Training setup of detection."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from msgformer.config.dense_training_options import BOX_HEADS, DetectHead
from msgformer.data.dense.checks import check_instances_quickly, check_object_counts, check_objects
from msgformer.data.dense.samples import DetectionSamples, collate
from msgformer.data.detection.instances import InstanceSet
from msgformer.data.detection.sets import find_readers, open_detection_training
from msgformer.data.detection.transforms import detect_eval_transform, detect_train_transform
from msgformer.data.loading.balance import rarest_classes
from msgformer.data.loading.grouping import GroupedData
from msgformer.data.loading.module import ImageData
from msgformer.data.problems import Problem, raise_errors
from msgformer.errors import UserError
from msgformer.tasks import get_task
from msgformer.tasks.dense.training_setup import DenseSetup
from msgformer.tasks.detection.ground_truth import coco_ground_truth
from msgformer.tasks.detection.training_module import DetectionTraining

if TYPE_CHECKING:
    from msgformer.runs.train_settings import TrainSettings


@rank_zero_only
def _note(text: str, severity: str = "note") -> None:
    print(f"{severity}: {text}", file=sys.stderr, flush=True)


class DetectionSetup(DenseSetup):
    """Setup of a training on images with annotated objects, in a layout as of `find_readers`.

    Args:
        settings: Checked settings.
        resume: Folder of a run that is resumed; None for a new run.
    """

    train: InstanceSet
    val: InstanceSet
    image_group = "detect_images"

    def __init__(self, settings: TrainSettings, resume: Path | None) -> None:
        super().__init__(settings, resume)
        place = settings.data or get_task(settings.task).bundled_scenes()
        may_have_masks = settings.detect.head not in BOX_HEADS
        rule = self.split_rule()
        train, self.val, self.test = open_detection_training(place, rule, with_masks=may_have_masks)
        if "all" in find_readers(place) and len(self.val):
            _note(f"the data has no subsets, so that {len(self.val)} of its images are held out for validation")
        self._choose_head(train)
        if settings.trainer.precision == "bf16-true":
            raise UserError("trainer.precision: bf16-true rounds the coordinates of boxes; give bf16-mixed")
        self.with_masks = self.settings.detect.head not in BOX_HEADS
        self.train = train.trainable(self.with_masks)
        self.classes = self.train.classes
        self.scores = (
            "box_ap",
            "box_ap50",
            "box_ap75",
            *(("mask_ap",) if self.with_masks and self.val.has_masks else ()),
        )
        self.check_files()
        limit, remedy = self.settings.detect.detections_per_image, "give --detect.detections_per_image {count}"
        if (many := check_object_counts(self.val, limit, remedy)) is not None:
            _note(f"{many.path}: {many.message}", "warning")

    def _choose_head(self, train: InstanceSet) -> None:
        """Replace the head "auto" by the one for the data."""
        if self.settings.detect.head == "auto":
            head: DetectHead = "mask_rcnn" if train.has_masks else "faster_rcnn"
            self.settings = replace(self.settings, detect=replace(self.settings.detect, head=head))
            if not train.has_masks:
                _note(f"the data has boxes but no masks, so that detect.head is {head}")

    @override
    def check_files(self) -> None:
        """Check quickly that there are objects, and that the images can be used."""
        subsets = {"train": self.train, "val": self.val}
        raise_errors(check_objects({name: found for name, found in subsets.items() if len(found)}))
        super().check_files()

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
        images = self.settings.detect_images
        preprocessing = {} if images.value_range is None else {"value_range": [*images.value_range]}
        card = self.card(self._arguments(), preprocessing)
        tiles = {} if images.tile is None else {"tile": images.tile}
        card = replace(card, data={**card.data, "category_ids": list(self.train.category_ids), **tiles})
        model = self.build_model(card, fresh=fresh)
        data = self._build_data(self.batch_size(trainer))
        plan = self.plan(trainer, data.batch_size)
        return DetectionTraining(model, card, plan, coco_ground_truth(self.val), self.train.name), data

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of `msgformer.create_detector` and of the backbone's constructor."""
        settings, images = self.settings, self.settings.detect_images
        test_side = images.test_side if images.tile is None else None
        sizes = {"min_size": test_side, "max_size": images.test_max_side}
        return {**asdict(settings.detect), **sizes, **settings.to_dict()["model_args"]}

    def _rarest_classes(self) -> list[int]:
        return rarest_classes([[one.label for one in image.trainable(self.with_masks)] for image in self.train.images])

    def _build_data(self, batch_size: int) -> ImageData:
        settings, images = self.settings, self.settings.detect_images
        return GroupedData(
            DetectionSamples(
                self.train, detect_train_transform(images), self.with_masks, settings.seed, images.value_range
            ),
            DetectionSamples(self.val, detect_eval_transform, with_masks=False, value_range=images.value_range),
            batch_size,
            self.workers,
            settings.seed,
            settings.trainer.start_method,
            collate=collate,
            balance=self._rarest_classes() if settings.balance == "sampler" else None,
            upright=[image.height > image.width for image in self.train.images] if images.group_shapes else None,
        )

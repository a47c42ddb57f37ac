"""Lightning module that trains a detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from msgformer.checkpoints.card import ModelCard
from msgformer.heads.detection.detections import unpasted_masks
from msgformer.tasks.detection.coco_scores import CocoGroundTruth, CocoScores
from msgformer.tasks.detection.tiles import TILE_OVERLAP, Detections, detect_on_tiles
from msgformer.training.best import Best
from msgformer.training.module import Plan, Training

Batch = tuple[list[Tensor], list[dict[str, Tensor]], Tensor]
"""Images [3, H, W], 0..1; targets with ``boxes``, ``labels`` and optional ``masks``; indices in their source [B]."""


class DetectionTraining(Training):
    """Trains a detector.

    Args:
        model: From `msgformer.create_detector`.
        card: Card of the model, which checkpoints hold.
        plan: Schedule of the training.
        ground_truth: Annotations of the validation set.
        names: Returns the name of a training image, such as its file, by its index.
    """

    best = Best("val/box_ap")

    def __init__(
        self,
        model: nn.Module,
        card: ModelCard,
        plan: Plan,
        ground_truth: CocoGroundTruth,
        names: Callable[[int], str] = str,
    ) -> None:
        self.kinds = score_kinds(model, ground_truth)
        super().__init__(model, card, plan, names)
        for scores in self.scores.values():
            assert isinstance(scores, CocoScores)
            scores.ground_truth = ground_truth

    @override
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses of proposals, classes, boxes and masks."""
        images, targets, _ = batch
        # Anchors are float32; with 64-true, Lightning converts the boxes to float64.
        targets = [{**target, "boxes": target["boxes"].float()} for target in targets]
        losses: dict[str, Tensor] = self.model(images, targets)
        return losses

    @override
    def make_scores(self) -> CocoScores:
        """Return COCO's metrics."""
        return CocoScores(self.kinds)

    @override
    def score(self, model: nn.Module, batch: Batch, scores: CocoScores) -> None:
        """Add a validation batch to the scores.

        Args:
            model: Detector in evaluation mode.
            batch: Validation batch.
            scores: From `make_scores`.
        """
        images, _, positions = batch
        tile = self.card.data.get("tile")
        with unpasted_masks():
            found = model(images) if tile is None else [_detect_on_tiles(model, image, tile) for image in images]
        scores.update(found, positions.tolist())

    @override
    def positions(self, batch: Batch) -> Tensor:
        """Return the indices of the images in their source [B]."""
        return batch[2]


def _detect_on_tiles(model: Any, image: Tensor, tile: int) -> Detections:
    """Detect objects in an image as the predictor of a run with tiles does."""
    threshold, limit = model.nms_threshold, model.detections_per_image
    return detect_on_tiles(lambda part: model([part])[0], image, tile, TILE_OVERLAP, threshold, limit)


def score_kinds(model: Any, ground_truth: CocoGroundTruth) -> tuple[str, ...]:
    """Return the outputs that a detector is scored on: boxes, and masks if it predicts them and objects have some.

    Args:
        model: The detector.
        ground_truth: Annotations of the images.
    """
    has_masks = any("segmentation" in one for one in ground_truth.content["annotations"])
    return ("box", "mask") if model.with_masks and has_masks else ("box",)

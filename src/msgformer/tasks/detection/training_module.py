"""Training of a detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from msgformer.checkpoints.card import ModelCard
from msgformer.tasks.detection.coco_scores import CocoScores, CocoTruth
from msgformer.training.best import Best
from msgformer.training.module import Plan, Training

Batch = tuple[list[Tensor], list[dict[str, Tensor]], Tensor]
"""Images [3, H, W], 0..1; ``boxes``, ``labels`` and perhaps ``masks`` of each; their positions in their source [B]."""


class Detecting(Training):
    """A detector that learns where in an image there is what.

    Args:
        model: From :func:`msgformer.create_detector`.
        card: What a checkpoint says about the model.
        plan: How long is trained, and with what.
        truth: What the validation set shows.
        names: From an image's position in the training set to what it is called, such as its file.
    """

    best = Best("val/box_ap")

    def __init__(
        self, model: nn.Module, card: ModelCard, plan: Plan, truth: CocoTruth, names: Callable[[int], str] = str
    ) -> None:
        self.kinds = score_kinds(model)
        super().__init__(model, card, plan, names)
        for scores in self.scores.values():
            assert isinstance(scores, CocoScores)
            scores.truth = truth

    @override
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Those of the proposals, the classes, the boxes and the masks."""
        images, targets, _ = batch
        return self.model(images, targets)

    @override
    def make_scores(self) -> CocoScores:
        """COCO's numbers."""
        return CocoScores(self.kinds)

    @override
    def score(self, model: nn.Module, batch: Batch, scores: CocoScores) -> None:
        """Count a batch."""
        images, _, positions = batch
        scores.update(model(images), positions.tolist())

    @override
    def positions(self, batch: Batch) -> Tensor:
        """The images' positions."""
        return batch[2]


def score_kinds(model: Any) -> tuple[str, ...]:
    """What a detector is scored on: its boxes, and its masks if it finds any."""
    return ("box", "mask") if model.with_masks else ("box",)

"""How well pixels are classified."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from msgformer.heads.segmentation.segmenter import IGNORED
from msgformer.heads.segmentation.upernet import resize


@dataclass(frozen=True)
class SegmentSummary:
    """Scores over all pixels that count, in per cent.

    Attributes:
        miou: Mean intersection over union, of the classes that occur in the truth or in the answers.
        pixel_accuracy: Part of the pixels that are right.
        mean_accuracy: Mean part of each class's pixels that are right.
        per_class: Intersection over union of each class; NaN if it doesn't occur.
    """

    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    per_class: list[float]

    @classmethod
    def of(cls, confusion: Tensor) -> SegmentSummary:
        """From counts [true class, answered class]."""
        counts = confusion.double()
        right, truth, answers = counts.diagonal(), counts.sum(1), counts.sum(0)
        iou = 100 * right / (truth + answers - right)
        return cls(
            miou=iou.nanmean().item(),
            pixel_accuracy=(100 * right.sum() / counts.sum()).item(),
            mean_accuracy=(100 * right / truth).nanmean().item(),
            per_class=iou.tolist(),
        )


class SegmentScores(nn.Module):
    """Counts pixels over all images.

    Args:
        num_classes: Classes.
        shared: Count over all processes of a training; otherwise this one's images are all there are.

    Attributes:
        summary: What the last call of :meth:`compute` came to.
    """

    def __init__(self, num_classes: int, *, shared: bool = True) -> None:
        super().__init__()
        self.confusion = MulticlassConfusionMatrix(num_classes, ignore_index=IGNORED, sync_on_compute=shared)
        self.loss = MeanMetric(sync_on_compute=shared)
        self.summary: SegmentSummary | None = None

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count images: logits (or logarithms of probabilities) [B, K, H, W], classes [B, H, W]."""
        self.confusion.update(logits.argmax(1), labels)
        counted = int((labels != IGNORED).sum())
        if counted:
            loss = F.cross_entropy(logits.float(), labels, ignore_index=IGNORED)
            self.loss.update(loss, weight=torch.tensor(float(counted)))

    def compute(self) -> dict[str, float]:
        """``loss``, and in per cent ``miou``, ``pixel_accuracy`` and ``mean_accuracy``, since the last call."""
        self.summary = summary = SegmentSummary.of(self.confusion.compute())
        loss = self.loss.compute().item()
        self.confusion.reset()
        self.loss.reset()
        return {
            "loss": loss,
            "miou": summary.miou,
            "pixel_accuracy": summary.pixel_accuracy,
            "mean_accuracy": summary.mean_accuracy,
        }


def mean_probabilities(
    model: Callable[[Tensor], Tensor], views: Sequence[Tensor], size: Sequence[int], *, flip: bool
) -> Tensor:
    """Return the probabilities of the classes, averaged over views of one image.

    Args:
        model: Maps normalized images [B, 3, h, w] to logits [B, K, h, w].
        views: The image at several scales, [3, h, w] each.
        size: Height and width of the result.
        flip: Average over the mirror image of each view as well.

    Returns:
        [K, *size].
    """
    total: Tensor | None = None
    for view in views:
        for mirrored in (False, True) if flip else (False,):
            logits = model(view.flip(-1)[None] if mirrored else view[None])
            logits = logits.flip(-1) if mirrored else logits
            probabilities = resize(logits.float(), size).softmax(1)[0]
            total = probabilities if total is None else total + probabilities
    assert total is not None
    return total / (len(views) * (2 if flip else 1))

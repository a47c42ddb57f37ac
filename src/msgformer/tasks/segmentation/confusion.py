"""Scores of segmentation from the confusion matrix of pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from msgformer.data.segmentation.label_scheme import ignored_index
from msgformer.heads.segmentation.upernet import resize


@dataclass(frozen=True)
class SegmentSummary:
    """Scores over all labeled pixels, in percent.

    Attributes:
        miou: Mean intersection over union of the classes that occur in the labels or in the predictions.
        pixel_accuracy: Share of correct pixels.
        mean_accuracy: Mean over the classes of the share of correct pixels.
        per_class: Intersection over union per class; NaN if the class doesn't occur.
    """

    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    per_class: list[float]

    @classmethod
    def of(cls, confusion: Tensor) -> SegmentSummary:
        """Compute the scores from the number of pixels by true class and predicted class [K, K]."""
        counts = confusion.double()
        correct, labeled, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
        iou = 100 * correct / (labeled + predicted - correct)
        return cls(
            miou=iou.nanmean().item(),
            pixel_accuracy=(100 * correct.sum() / counts.sum()).item(),
            mean_accuracy=(100 * correct / labeled).nanmean().item(),
            per_class=iou.tolist(),
        )


class SegmentScores(nn.Module):
    """Accumulates the confusion matrix of pixels and the loss over all images.

    Args:
        num_classes: Number of classes.
        shared: Whether to sum over all processes of a training.

    Attributes:
        summary: Result of the last call of `compute`.
    """

    def __init__(self, num_classes: int, *, shared: bool = True) -> None:
        super().__init__()
        self.ignored = ignored_index(num_classes)
        self.confusion = MulticlassConfusionMatrix(num_classes, ignore_index=self.ignored, sync_on_compute=shared)
        self.loss = MeanMetric(sync_on_compute=shared)
        self.summary: SegmentSummary | None = None

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            logits: Logits or log-probabilities [B, K, H, W].
            labels: True classes [B, H, W].
        """
        self.confusion.update(logits.argmax(1), labels)
        num_labeled = int((labels != self.ignored).sum())
        if num_labeled:
            loss = F.cross_entropy(logits.float(), labels, ignore_index=self.ignored)
            self.loss.update(loss, weight=torch.tensor(float(num_labeled)))

    def compute(self) -> dict[str, float]:
        """Return the loss and, in percent, the scores since the last call, and reset them."""
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
    """Compute the class probabilities of one image, averaged over views of it.

    Args:
        model: Maps normalized images [B, 3, h, w] to logits [B, K, h, w].
        views: The image at several scales, [3, h, w] each.
        size: Height and width of the result.
        flip: Whether to include the mirror image of each view.

    Returns:
        Probabilities [K, H, W].
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

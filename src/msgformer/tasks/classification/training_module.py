"""Lightning module that trains a classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from timm.data import Mixup
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from msgformer.checkpoints.card import ModelCard
from msgformer.tasks.classification.distillation import Distillation
from msgformer.training.best import Best
from msgformer.training.module import Plan, Training

Batch = tuple[Tensor, Tensor, Tensor]
"""Images [B, C, H, W], labels [B], and indices of the images in their source [B]."""


class Scores(nn.Module):
    """Top-1 and top-5 accuracy in percent, and mean loss, over all images and processes.

    Args:
        num_classes: Number of classes; with fewer than five, the top-5 accuracy includes all of them.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.accuracy = MetricCollection(
            {f"top{k}": MulticlassAccuracy(num_classes, top_k=min(k, num_classes), average="micro") for k in (1, 5)},
            compute_groups=False,
        )
        self.loss = MeanMetric()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            logits: Logits [B, K].
            labels: True classes [B].
        """
        self.accuracy.update(logits, labels)
        self.loss.update(F.cross_entropy(logits.float(), labels), weight=len(labels))

    def compute(self) -> dict[str, float]:
        """Return ``loss``, ``top1`` and ``top5`` since the last call, and reset them."""
        scores = {"loss": self.loss.compute().item()}
        scores |= {name: 100 * value.item() for name, value in self.accuracy.compute().items()}
        self.accuracy.reset()
        self.loss.reset()
        return scores


class ClassificationTraining(Training):
    """Trains a classifier by cross-entropy and, with a teacher, by distillation.

    Args:
        model: Maps images [B, C, H, W] to logits [B, K].
        card: Card of the model, which checkpoints hold.
        plan: Schedule of the training.
        names: Returns the name of a training image, such as its file, by its index.
        smoothing: Label smoothing.
        mixer: Mixes batches and smooths their labels; None for no mixing.
        mix_off_epoch: Epoch from which batches aren't mixed; 0 mixes in all epochs.
        weights: Weight per class in the cross-entropy; None weights all classes equally.
        distillation: Distillation term of the loss; None for none.
    """

    best = Best("val/top1", tie_breaker="val/loss")

    def __init__(
        self,
        model: nn.Module,
        card: ModelCard,
        plan: Plan,
        names: Callable[[int], str] = str,
        smoothing: float = 0.0,
        mixer: Mixup | None = None,
        mix_off_epoch: int = 0,
        weights: Sequence[float] | None = None,
        distillation: Distillation | None = None,
    ) -> None:
        super().__init__(model, card, plan, names)
        self.smoothing = smoothing
        self.mixer = mixer
        self.mix_off_epoch = mix_off_epoch
        self.distillation = distillation
        self.weights: Tensor | None
        weight = None if weights is None else torch.tensor(weights, dtype=torch.float32)  # as the logits
        self.register_buffer("weights", weight, persistent=False)

    @override
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the cross-entropy with smoothed or mixed targets and, with a teacher, the distillation loss.

        The teacher receives the mixed images.
        """
        images, labels, _ = batch
        targets = labels
        if self.mixer is not None:
            self.mixer.mixup_enabled = not 0 < self.mix_off_epoch <= self.current_epoch
            images, targets = self.mixer(images, labels)
        smoothing = self.smoothing if self.mixer is None else 0.0
        logits = self.model(images).float()
        loss = F.cross_entropy(logits, targets, self.weights, label_smoothing=smoothing)
        if self.distillation is None:
            return {"cross_entropy": loss}
        alpha = self.distillation.alpha
        return {"cross_entropy": (1 - alpha) * loss, "distillation": alpha * self.distillation(images, logits)}

    @override
    def make_scores(self) -> Scores:
        """Return top-1 and top-5 accuracy and loss."""
        return Scores(len(self.card.classes))

    @override
    def score(self, model: nn.Module, batch: Batch, scores: Scores) -> None:
        """Add a validation batch to the scores.

        Args:
            model: Model in evaluation mode.
            batch: Validation batch.
            scores: From `make_scores`.
        """
        images, labels, _ = batch
        scores.update(model(images), labels)

    @override
    def positions(self, batch: Batch) -> Tensor:
        """Return the indices of the images in their source [B]."""
        return batch[2]

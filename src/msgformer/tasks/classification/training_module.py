"""Training of a classifier as a Lightning module."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from lightning import LightningModule
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
"""Images [B, channels, height, width], labels [B], and the images' positions in their source [B]."""


class Scores(nn.Module):
    """Top-1 and top-5 accuracy in per cent and mean loss, over all images and processes.

    Args:
        num_classes: Classes; with fewer than five, top-5 counts them all.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.accuracy = MetricCollection(
            {f"top{k}": MulticlassAccuracy(num_classes, top_k=min(k, num_classes), average="micro") for k in (1, 5)},
            compute_groups=False,
        )
        self.loss = MeanMetric()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: logits [B, classes], labels [B]."""
        self.accuracy.update(logits, labels)
        self.loss.update(F.cross_entropy(logits.float(), labels), weight=len(labels))

    def compute(self) -> dict[str, float]:
        """``loss``, ``top1`` and ``top5`` of what was counted since the last call."""
        scores = {"loss": self.loss.compute().item()}
        scores |= {name: 100 * value.item() for name, value in self.accuracy.compute().items()}
        self.accuracy.reset()
        self.loss.reset()
        return scores


class Scorer(LightningModule):
    """A model and its scores on a validation set.

    Args:
        model: Images [B, channels, height, width] -> logits [B, classes].
        num_classes: Classes.
    """

    def __init__(self, model: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.model = model
        self.scores = Scores(num_classes)

    @override
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch."""
        images, labels, _ = batch
        self.scores.update(self.model(images), labels)

    @override
    def on_validation_epoch_end(self) -> None:
        """Log ``val/loss``, and ``val/top1`` and ``val/top5`` in per cent."""
        for name, value in self.scores.compute().items():
            self.log(f"val/{name}", value, prog_bar=name == "top1", logger=False, sync_dist=True)


class Classifier(Training):
    """A timm model that learns to name what an image shows.

    Args:
        model: Images [B, channels, height, width] -> logits [B, classes].
        card: What a checkpoint says about the model.
        plan: How long is trained, and with what.
        names: From an image's position in the training set to what it is called, such as its file.
        smoothing: Label smoothing.
        mixer: Mixes batches and smooths their labels, or None.
        mix_off_epoch: Epoch from which nothing is mixed; 0: never.
        weights: Of each class in the loss of the labels; None: all alike.
        distillation: What a teacher adds to the loss; None: nothing.
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
        self.register_buffer("weights", None if weights is None else torch.tensor(weights), persistent=False)

    @override
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The cross-entropy, whose targets are smoothed and, with a mixer, mixed; and the distance from a teacher.

        A teacher sees the images as they were mixed.
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
        """Top-1, top-5 and loss."""
        return Scores(len(self.card.classes))

    @override
    def score(self, model: nn.Module, batch: Batch, scores: Scores) -> None:
        """Count a batch."""
        images, labels, _ = batch
        scores.update(model(images), labels)

    @override
    def positions(self, batch: Batch) -> Tensor:
        """The images' positions."""
        return batch[2]

"""Training of a classifier as a Lightning module."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from lightning import LightningModule
from timm.data import Mixup
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from msgformer.errors import UserError
from msgformer.seeding import derive, seed_generators
from msgformer.training.checkpoint import ModelCard
from msgformer.training.optim import Rates, advance, build_optimizer, build_schedule, lightning_schedule
from msgformer.training.options import OptimOptions

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


class Classifier(Scorer):
    """A timm model, its loss and its optimiser.

    The model's randomness (drop path, mixing) is a function of (seed, epoch, batch, process): before every batch the
    generators are set from them.

    Args:
        model: Images [B, channels, height, width] -> logits [B, classes].
        card: What a checkpoint says about the model.
        optim: Optimiser and schedule.
        total_batch: Images an optimiser step, over all processes and accumulated batches.
        epochs: Epochs of the schedule; cool-down comes on top.
        steps_per_epoch: Optimiser steps an epoch.
        smoothing: Label smoothing.
        mixer: Mixes batches and smooths their labels, or None.
        mix_off_epoch: Epoch from which nothing is mixed; 0: never.
        seed: The run's seed.
    """

    def __init__(
        self,
        model: nn.Module,
        card: ModelCard,
        optim: OptimOptions,
        total_batch: int,
        epochs: int,
        steps_per_epoch: int,
        smoothing: float = 0.0,
        mixer: Mixup | None = None,
        mix_off_epoch: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(model, len(card.classes))
        self.card = card
        self.optim = optim
        self.rates = Rates.of(optim, total_batch)
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.smoothing = smoothing
        self.mixer = mixer
        self.mix_off_epoch = mix_off_epoch
        self.seed = seed

    @override
    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the generators for this batch."""
        seed = derive(self.seed, self.current_epoch, batch_idx, self.global_rank)
        seed_generators(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The batch's loss; the targets are smoothed and, with a mixer, mixed."""
        images, labels, _ = batch
        targets = labels
        if self.mixer is not None:
            self.mixer.mixup_enabled = not 0 < self.mix_off_epoch <= self.current_epoch
            images, targets = self.mixer(images, labels)
        smoothing = self.smoothing if self.mixer is None else 0.0
        loss = F.cross_entropy(self.model(images).float(), targets, label_smoothing=smoothing)
        self._check_finite(loss, batch_idx)
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=len(images))
        return loss

    def _check_finite(self, loss: Tensor, batch_idx: int) -> None:
        if not torch.isfinite(loss):
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            raise UserError(
                f"the loss is {loss.item()} in epoch {self.current_epoch + 1}, batch {batch_idx + 1}, at a learning"
                f" rate of {rate:.3g}; lower optim.lr, set trainer.clip_grad, or use trainer.precision 32-true"
            )

    @override
    def configure_optimizers(self) -> Any:
        """The optimiser and the schedule, for Lightning."""
        optimizer = build_optimizer(self.model, self.optim, self.rates)
        schedule = build_schedule(optimizer, self.optim, self.rates, self.epochs, self.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": lightning_schedule(schedule)}

    @override
    def lr_scheduler_step(self, scheduler: Scheduler, metric: Any) -> None:  # type: ignore[override]
        """Move the learning rate on, after an optimiser step or after an epoch."""
        advance(scheduler, self.current_epoch + 1, self.global_step)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the model's card into the checkpoint."""
        self.card.write(checkpoint)

"""Base of the Lightning modules of all tasks.

A new task is a subclass of `Training` that provides

- ``best``: the rule that selects the best epoch (a class attribute);
- ``losses(batch)``: the terms of the loss;
- ``make_scores()`` and ``score(model, batch, scores)``: the validation;
- ``positions(batch)``: the indices of a batch's images, so that messages can name their files.

This module and `msgformer.training.run` do the rest: optimizer and schedule, random generators seeded by (seed, epoch,
batch, process), the check for a finite loss, mean losses per epoch, a moving average of the weights, the model card in
the checkpoint, the run folder, resuming and stopping.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from lightning import LightningModule
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from typing_extensions import override

from msgformer.checkpoints.card import ModelCard
from msgformer.config.training_options import OptimOptions
from msgformer.errors import UserError
from msgformer.training.best import Best
from msgformer.training.means import Means
from msgformer.training.optim import Rates, build_optimizer, build_schedule, lightning_schedule, step_schedule
from msgformer.utils.seeding import derive, seed_generators

MEANS_KEY = "train_means"
EMA = "ema_"
"""Prefix of the scores of the averaged weights: ``val/ema_top1`` beside ``val/top1``."""


@dataclass(frozen=True)
class Plan:
    """Schedule of a training.

    Attributes:
        optim: Options of optimizer and schedule.
        total_batch: Images per optimizer step, over all processes and accumulated batches.
        epochs: Epochs of the schedule, without the cool-down.
        steps_per_epoch: Optimizer steps per epoch.
        seed: Seed of the run.
    """

    optim: OptimOptions
    total_batch: int
    epochs: int
    steps_per_epoch: int
    seed: int = 0


class NotFiniteError(UserError):
    """The loss is infinite or not a number."""


class TaskScores(Protocol):
    """Scores of one model, accumulated over batches; an ``nn.Module``, so that it moves to the device."""

    def compute(self) -> dict[str, float]:
        """Return the scores over all processes since the last call, and reset them; in percent, except for losses."""


class Training(LightningModule):
    """A model with its losses, scores and optimizer.

    Args:
        model: Model to train.
        card: Card of the model, which checkpoints hold.
        plan: Schedule of the training.
        names: Returns the name of a training image, such as its file, by its index.

    Attributes:
        best: Rule that selects the best epoch.
    """

    best: ClassVar[Best]

    def __init__(self, model: nn.Module, card: ModelCard, plan: Plan, names: Callable[[int], str] = str) -> None:
        super().__init__()
        self.card, self.plan, self.names = card, plan, names
        self.rates = Rates.of(plan.optim, plan.total_batch)
        self.model = model
        build_optimizer(model, plan.optim, self.rates)  # rejects invalid options before a run folder is created
        self.ema: ModelEmaV3 | None = None
        if plan.optim.ema is not None:
            self.ema = ModelEmaV3(model, decay=plan.optim.ema, use_warmup=True)
            # DDP waits for gradients of all parameters that require them, and the average never gets any.
            self.ema.requires_grad_(False)
        self.scores = nn.ModuleDict(
            {self._scores_key(prefix): self.make_scores() for prefix in self.evaluated_models()}
        )
        self.means = Means()

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Compute the terms of the loss of a training batch, by name; their sum is minimized.

        The global random generators have been seeded for this batch. Several terms are also logged one by one, as
        ``train/NAME``.
        """

    @abstractmethod
    def make_scores(self) -> nn.Module:
        """Return a new module with the interface of `TaskScores`; ``self.card`` is set, but not the model."""

    @abstractmethod
    def score(self, model: nn.Module, batch: Any, scores: Any) -> None:
        """Add a validation batch to the scores.

        Args:
            model: Model in evaluation mode: the trained one, or its moving average.
            batch: Validation batch.
            scores: From `make_scores`.
        """

    @abstractmethod
    def positions(self, batch: Any) -> Tensor | Sequence[int]:
        """Return the indices of a batch's images in their source [B]."""

    def evaluated_models(self) -> dict[str, nn.Module]:
        """Return the models that are validated, by the prefix of their scores: the model and its moving average."""
        return {"": self.model, **({} if self.ema is None else {EMA: self.ema.module})}

    @staticmethod
    def _scores_key(prefix: str) -> str:
        return prefix or "raw"

    @override
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the random generators for this batch.

        Args:
            batch: Unused.
            batch_idx: Index of the batch in the epoch.
        """
        seed = derive(self.plan.seed, self.current_epoch, batch_idx, self.global_rank)
        seed_generators(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    @override
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Compute the loss of a batch.

        Args:
            batch: Training batch.
            batch_idx: Index of the batch in the epoch.

        Returns:
            The loss, a scalar [].

        Raises:
            NotFiniteError: The loss is infinite or not a number.
        """
        losses = self.losses(batch)
        terms = torch.stack([*losses.values()])
        values = dict(zip(losses, terms.detach().tolist(), strict=True))
        self._check_finite(values, batch, batch_idx)
        logged = {"loss": math.fsum(values.values()), **(values if len(values) > 1 else {})}
        self.means.add(logged, weight=len(self.positions(batch)))
        return terms.sum()

    def _check_finite(self, values: dict[str, float], batch: Any, batch_idx: int) -> None:
        broken = {name: value for name, value in values.items() if not math.isfinite(value)}
        if not broken:
            return
        rate = max(group["lr"] for group in self.trainer.optimizers[0].param_groups)
        files = [self.names(int(position)) for position in self.positions(batch)]
        more = f" and {len(files) - 8} more" if len(files) > 8 else ""
        what = ", ".join(f"{name} is {value}" for name, value in broken.items())
        raise NotFiniteError(
            f"the loss is not finite ({what}) in epoch {self.current_epoch + 1}, batch {batch_idx + 1}, step"
            f" {self.global_step + 1}, at a learning rate of {rate:.3g}; lower optim.lr, set"
            f" trainer.gradient_clip_val or use trainer.precision 32-true; if one of the batch's images is the cause,"
            f" it is among {', '.join(files[:8])}{more}"
        )

    @override
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Add a batch to the scores of the model and of its moving average.

        Args:
            batch: Validation batch.
            batch_idx: Unused.
        """
        for prefix, model in self.evaluated_models().items():
            self.score(model, batch, self.scores[self._scores_key(prefix)])

    @override
    def on_validation_epoch_end(self) -> None:
        """Log ``val/SCORE``, and ``val/ema_SCORE`` for the moving average."""
        for prefix in self.evaluated_models():
            for name, value in self.scores[self._scores_key(prefix)].compute().items():  # type: ignore[operator]
                full = f"val/{prefix}{name}"
                self.log(full, value, prog_bar=full == self.best.metric, logger=False, sync_dist=True)

    @override
    def configure_optimizers(self) -> Any:
        """Return the optimizer and the schedule in Lightning's format."""
        optim, plan = self.plan.optim, self.plan
        optimizer = build_optimizer(self.model, optim, self.rates)
        schedule = build_schedule(optimizer, optim, self.rates, plan.epochs, plan.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": lightning_schedule(schedule)}

    @override
    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Step the optimizer, and update the moving average.

        Args:
            epoch: Index of the epoch.
            batch_idx: Index of the batch in the epoch.
            optimizer: The optimizer.
            optimizer_closure: Computes the loss and its gradients.
        """
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.ema is not None:
            self.ema.update(self.model, step=self.global_step)

    @override
    def lr_scheduler_step(self, scheduler: Scheduler, metric: Any) -> None:  # type: ignore[override]
        """Update the learning rate after an optimizer step or after an epoch.

        Args:
            scheduler: The schedule.
            metric: Unused.
        """
        step_schedule(scheduler, self.current_epoch + 1, self.global_step)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model card and the mean losses of the current epoch to the checkpoint."""
        self.card.write(checkpoint)
        checkpoint[MEANS_KEY] = self.means.state(self.trainer.strategy)

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the mean losses of the current epoch; the first process loads the sums over all processes."""
        state = checkpoint[MEANS_KEY]
        self.means.load(state if self.global_rank == 0 else dict.fromkeys(state, (0.0, 0.0)))

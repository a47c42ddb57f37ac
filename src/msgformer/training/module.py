"""What the training of every task has in common, as a Lightning module.

A new task is a subclass of :class:`Training` that provides

- ``best``: which metric decides about the best epoch (a class attribute);
- ``losses(batch)``: the terms of the loss;
- ``make_scores()`` and ``score(model, batch, scores)``: how a model is scored on a validation set;
- ``positions(batch)``: which samples of the training set a batch holds, so that messages can name their files.

All the rest is done here and in :mod:`msgformer.training.run`: optimiser and schedule, a generator state that is a
function of (seed, epoch, batch, process), the check that the loss is finite, the epoch's mean losses, a moving average
of the weights, the model's card in the checkpoint, the run folder, resuming and stopping.
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
from msgformer.training.optim import Rates, advance, build_optimizer, build_schedule, lightning_schedule
from msgformer.utils.seeding import derive, seed_generators

MEANS_KEY = "train_means"
EMA = "ema_"
"""What the scores of the averaged weights begin with: ``val/ema_top1`` beside ``val/top1``."""


@dataclass(frozen=True)
class Plan:
    """How long is trained, and with what.

    Attributes:
        optim: Optimiser and schedule.
        total_batch: Images an optimiser step, over all processes and accumulated batches.
        epochs: Epochs of the schedule; cool-down comes on top.
        steps_per_epoch: Optimiser steps an epoch.
        seed: The run's seed.
    """

    optim: OptimOptions
    total_batch: int
    epochs: int
    steps_per_epoch: int
    seed: int = 0


class NotFiniteError(UserError):
    """The loss is infinite or not a number."""


class TaskScores(Protocol):
    """Scores of one model, counted batch by batch; a module, so that it moves to the device with the rest."""

    def compute(self) -> dict[str, float]:
        """The scores over all processes since the last call, which are then forgotten; all in per cent but losses."""


class Training(LightningModule):
    """A model, its losses, its scores and its optimiser.

    Args:
        model: What is trained.
        card: What a checkpoint says about the model.
        plan: How long is trained, and with what.
        names: From a sample's position in the training set to what it is called, such as its file.
    """

    best: ClassVar[Best]

    def __init__(self, model: nn.Module, card: ModelCard, plan: Plan, names: Callable[[int], str] = str) -> None:
        super().__init__()
        self.card, self.plan, self.names = card, plan, names
        self.rates = Rates.of(plan.optim, plan.total_batch)
        self.model = model
        build_optimizer(model, plan.optim, self.rates)  # refuses settings before a run folder is begun
        self.ema: ModelEmaV3 | None = None
        if plan.optim.ema is not None:
            self.ema = ModelEmaV3(model, decay=plan.optim.ema, use_warmup=True)
            # DDP waits for a gradient of each parameter that requires one, and the average never gets any.
            self.ema.requires_grad_(False)
        self.scores = nn.ModuleDict({self._scores_key(prefix): self.make_scores() for prefix in self.candidates()})
        self.means = Means()

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, Tensor]:
        """The terms of a training batch's loss by name; their sum is minimised.

        The global generators are set for this batch. Each term is logged as ``train/NAME`` where there are several.
        """

    @abstractmethod
    def make_scores(self) -> nn.Module:
        """A new module with the method of ``TaskScores``; ``self.card`` is known by now, the model isn't."""

    @abstractmethod
    def score(self, model: nn.Module, batch: Any, scores: Any) -> None:
        """Count a validation batch, as ``model`` in evaluation mode sees it, in ``scores``, from ``make_scores``."""

    @abstractmethod
    def positions(self, batch: Any) -> Tensor | Sequence[int]:
        """The positions of a batch's images in their source [B]."""

    def candidates(self) -> dict[str, nn.Module]:
        """The models that are scored, by what the names of their scores begin with."""
        return {"": self.model, **({} if self.ema is None else {EMA: self.ema.module})}

    @staticmethod
    def _scores_key(prefix: str) -> str:
        return prefix or "raw"

    @override
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the generators for this batch."""
        seed = derive(self.plan.seed, self.current_epoch, batch_idx, self.global_rank)
        seed_generators(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    @override
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The batch's loss, found finite."""
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
            f" {self.global_step + 1}, at a learning rate of {rate:.3g}; lower optim.lr, set trainer.clip_grad or use"
            f" trainer.precision 32-true; if one of the batch's images is the cause, it is among {', '.join(files[:8])}"
            f"{more}"
        )

    @override
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count one batch, for the model and for its moving average."""
        for prefix, model in self.candidates().items():
            self.score(model, batch, self.scores[self._scores_key(prefix)])

    @override
    def on_validation_epoch_end(self) -> None:
        """Log ``val/SCORE``, and ``val/ema_SCORE`` of the moving average."""
        for prefix in self.candidates():
            for name, value in self.scores[self._scores_key(prefix)].compute().items():  # type: ignore[operator]
                full = f"val/{prefix}{name}"
                self.log(full, value, prog_bar=full == self.best.metric, logger=False, sync_dist=True)

    @override
    def configure_optimizers(self) -> Any:
        """The optimiser and the schedule, for Lightning."""
        optim, plan = self.plan.optim, self.plan
        optimizer = build_optimizer(self.model, optim, self.rates)
        schedule = build_schedule(optimizer, optim, self.rates, plan.epochs, plan.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": lightning_schedule(schedule)}

    @override
    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Step, and move the average along."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.ema is not None:
            self.ema.update(self.model, step=self.global_step)

    @override
    def lr_scheduler_step(self, scheduler: Scheduler, metric: Any) -> None:  # type: ignore[override]
        """Move the learning rate on, after an optimiser step or after an epoch."""
        advance(scheduler, self.current_epoch + 1, self.global_step)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the model's card and the running epoch's mean losses into the checkpoint."""
        self.card.write(checkpoint)
        checkpoint[MEANS_KEY] = self.means.state(self.trainer.strategy)

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the running epoch's mean losses; one process has those of all."""
        state = checkpoint[MEANS_KEY]
        self.means.load(state if self.global_rank == 0 else dict.fromkeys(state, (0.0, 0.0)))

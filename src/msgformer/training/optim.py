"""Optimiser and learning-rate schedule, both timm's."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.optim import Optimizer

from msgformer.config.training_options import OptimOptions
from msgformer.errors import UserError
from msgformer.model_names import nearest

_FIELDS = {field.name for field in fields(OptimOptions)}


@dataclass(frozen=True)
class Rates:
    """Learning rates of a run.

    Attributes:
        peak: The highest.
        first: Of the first step.
        last: Of the last.
    """

    peak: float
    first: float
    last: float

    @classmethod
    def of(cls, options: OptimOptions, total_batch: int) -> Rates:
        """The rates that ``options`` give for ``total_batch`` images an optimiser step."""
        scale = 1.0 if options.lr_batch is None else total_batch / options.lr_batch
        return cls(options.lr * scale, options.warmup_lr * scale, options.min_lr * scale)


def build_optimizer(model: nn.Module, options: OptimOptions, rates: Rates) -> Optimizer:
    """The optimiser, with parameters in groups by weight decay and, if asked for, by layer.

    1-d parameters, biases and what ``model.no_weight_decay()`` names aren't decayed.

    Raises:
        UserError: timm doesn't know the optimiser, or it doesn't take one of its settings.
    """
    known = [str(name) for name in list_optimizers()]
    if options.optimizer not in known:
        raise UserError(f"optim.optimizer: unknown optimiser {options.optimizer!r}{nearest(options.optimizer, known)}")
    for key in sorted(options.optimizer_args):
        if key in _FIELDS:
            raise UserError(f"optim.optimizer_args.{key} is a setting of its own; give optim.{key}")
    own: dict[str, Any] = {"betas": options.betas, "eps": options.eps}
    own = {key: value for key, value in own.items() if value is not None}
    try:
        optimizer = create_optimizer_v2(
            model,
            opt=options.optimizer,
            lr=rates.peak,
            weight_decay=options.weight_decay,
            momentum=options.momentum,
            layer_decay=options.layer_decay,
            **own,
            **options.optimizer_args,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"optim: {options.optimizer} refuses its settings: {error}") from error
    for key in own:
        if key not in optimizer.defaults:  # timm drops what an optimiser doesn't take
            raise UserError(f"optim.{key}: {options.optimizer} has no such setting; leave it out")
    _fuse_on_cpu(optimizer)
    return optimizer


def _fuse_on_cpu(optimizer: Optimizer) -> None:
    """One step for each parameter, where PyTorch has it and nobody chose: by default CPUs take one for each operation.

    GPUs are left alone: there the default takes few steps as well, and a fused one can't clip gradients in fp16.
    """
    for group in optimizer.param_groups:
        on_cpu = all(parameter.device.type == "cpu" for parameter in group["params"])
        if on_cpu and all(group.get(way, False) is None for way in ("fused", "foreach")):
            group["fused"] = True


def build_schedule(
    optimizer: Optimizer, options: OptimOptions, rates: Rates, epochs: int, steps_per_epoch: int
) -> Scheduler:
    """The schedule over ``epochs``; :func:`advance` moves it.

    Raises:
        UserError: the warm-up is longer than the training, or milestones don't go with the schedule.
    """
    if options.warmup_epochs > epochs:
        raise UserError(
            f"optim.warmup_epochs is {options.warmup_epochs:g}, but there are only {epochs} epochs; give fewer"
        )
    check_milestones(options)
    # timm lets the rate fall one count before a milestone.
    count = 1.0 if options.step_on == "epoch" else 1 / steps_per_epoch
    settings: dict[str, Any] = dict(  # timm's types know whole epochs only, its schedules any part
        decay_milestones=[milestone + count for milestone in options.milestones],
        decay_rate=options.power if options.schedule == "poly" else options.decay_rate,
        warmup_epochs=options.warmup_epochs,
    )
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched=options.schedule,
        num_epochs=epochs,
        min_lr=rates.last,
        warmup_lr=rates.first,
        cooldown_epochs=options.cooldown_epochs,
        step_on_epochs=options.step_on == "epoch",
        updates_per_epoch=steps_per_epoch,
        **settings,
    )
    return schedule


def check_milestones(options: OptimOptions) -> None:
    """Make sure that there are milestones, in order, where the schedule needs them, and nowhere else.

    Raises:
        UserError: there are none, or too many.
    """
    given, needed = list(options.milestones), options.schedule == "multistep"
    if bool(given) != needed or given != sorted(set(given)):
        what = (
            "needs epochs in rising order, such as [8, 11]," if needed else f"is for multistep, not {options.schedule}"
        )
        raise UserError(f"optim.milestones {what}; it is {given}")


def advance(schedule: Scheduler, epoch: int, step: int) -> None:
    """Set the learning rate for what comes next.

    Args:
        schedule: From :func:`build_schedule`; it acts on the one of both counts that it was built for.
        epoch: Epochs begun, the running one included, 1 in the first.
        step: Optimiser steps done.
    """
    if schedule.t_in_epochs:
        schedule.step(epoch)
    else:
        schedule.step_update(step)


def lightning_schedule(schedule: Scheduler) -> dict[str, Any]:
    """The schedule in the form that Lightning's ``configure_optimizers`` wants."""
    return {"scheduler": schedule, "interval": "epoch" if schedule.t_in_epochs else "step"}

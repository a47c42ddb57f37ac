"""Optimizer and learning-rate schedule of timm."""

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
        peak: Highest rate.
        first: Rate of the first step.
        last: Rate of the last step.
    """

    peak: float
    first: float
    last: float

    @classmethod
    def of(cls, options: OptimOptions, total_batch: int) -> Rates:
        """Compute the rates from the options.

        Args:
            options: Options of the optimizer.
            total_batch: Images per optimizer step, to which rates are scaled if ``options.lr_batch`` is given.
        """
        scale = 1.0 if options.lr_batch is None else total_batch / options.lr_batch
        return cls(options.lr * scale, options.warmup_lr * scale, options.min_lr * scale)


def build_optimizer(model: nn.Module, options: OptimOptions, rates: Rates) -> Optimizer:
    """Build the optimizer, with parameter groups by weight decay and, with ``layer_decay``, by layer.

    Weight decay doesn't apply to 1-d parameters, biases and the parameters in ``model.no_weight_decay()``.

    Args:
        model: Model to train.
        options: Options of the optimizer.
        rates: Learning rates.

    Raises:
        UserError: The optimizer is unknown to timm, or doesn't accept one of the options.
    """
    known = [str(name) for name in list_optimizers()]
    if options.optimizer not in known:
        raise UserError(f"optim.optimizer: unknown optimizer {options.optimizer!r}{nearest(options.optimizer, known)}")
    for key in sorted(options.optimizer_args):
        if key in _FIELDS:
            raise UserError(f"optim.optimizer_args.{key} is an option of its own; give optim.{key}")
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
        raise UserError(f"optim: {options.optimizer} rejects its options: {error}") from error
    for key in own:
        if key not in optimizer.defaults:  # timm drops options that an optimizer doesn't have
            raise UserError(f"optim.{key}: {options.optimizer} has no such option; leave it out")
    if options.momentum != OptimOptions.momentum and "momentum" not in optimizer.defaults:
        raise UserError(f"optim.momentum: {options.optimizer} has none; leave it out")
    _fuse_on_cpu(optimizer)
    return optimizer


def _fuse_on_cpu(optimizer: Optimizer) -> None:
    """Use PyTorch's fused optimizer step for parameters on the CPU, unless the user chose an implementation.

    GPUs keep PyTorch's default, which launches few kernels too; a fused step can't clip gradients in fp16.
    """
    for group in optimizer.param_groups:
        on_cpu = all(parameter.device.type == "cpu" for parameter in group["params"])
        if on_cpu and all(group.get(way, False) is None for way in ("fused", "foreach")):
            group["fused"] = True


def build_schedule(
    optimizer: Optimizer, options: OptimOptions, rates: Rates, epochs: int, steps_per_epoch: int
) -> Scheduler:
    """Build the learning-rate schedule, which `step_schedule` advances.

    Args:
        optimizer: From `build_optimizer`.
        options: Options of the schedule.
        rates: Learning rates.
        epochs: Number of epochs, without the cool-down.
        steps_per_epoch: Optimizer steps per epoch.

    Raises:
        UserError: The warm-up is longer than the training, or the milestones don't fit the schedule.
    """
    if options.warmup_epochs > epochs:
        raise UserError(
            f"optim.warmup_epochs is {options.warmup_epochs:g}, but there are only {epochs} epochs; give fewer"
        )
    check_milestones(options)
    # timm reduces the rate one count before a milestone.
    count = 1.0 if options.step_on == "epoch" else 1 / steps_per_epoch
    settings: dict[str, Any] = dict(  # untyped, since timm annotates epochs as int but accepts fractions
        decay_milestones=[milestone + count for milestone in options.milestones],
        decay_rate=options.power if options.schedule == "poly" else options.decay_rate,
        warmup_epochs=options.warmup_epochs,
    )
    schedule: Scheduler
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
    """Check that milestones are given in ascending order for a multistep schedule, and for no other schedule.

    Raises:
        UserError: They are missing, out of order, or given for another schedule.
    """
    given, needed = list(options.milestones), options.schedule == "multistep"
    if bool(given) != needed or given != sorted(set(given)):
        needs = "needs epochs in ascending order, such as [8, 11]"
        what = needs if needed else f"is for multistep, not {options.schedule}"
        raise UserError(f"optim.milestones {what}, not {given}" if needed else f"optim.milestones {what}; leave it out")


def step_schedule(schedule: Scheduler, epoch: int, step: int) -> None:
    """Set the learning rate for the next optimizer step.

    Args:
        schedule: From `build_schedule`; depending on ``step_on`` it uses ``epoch`` or ``step``.
        epoch: Number of the current epoch, from 1.
        step: Number of optimizer steps so far.
    """
    if schedule.t_in_epochs:
        schedule.step(epoch)
    else:
        schedule.step_update(step)


def lightning_schedule(schedule: Scheduler) -> dict[str, Any]:
    """Return the schedule in the format of Lightning's ``configure_optimizers``."""
    return {"scheduler": schedule, "interval": "epoch" if schedule.t_in_epochs else "step"}

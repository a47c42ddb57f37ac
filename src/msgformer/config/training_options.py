"""Options of the optimizer, of distillation and of the training loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from msgformer.config.ranges import ABOVE_0, AT_LEAST_0, AT_LEAST_1, PROBABILITY, Needs, Range, option
from msgformer.config.renamed_arguments import renamed_arguments

LightningPrecision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"]
Precision = Literal["auto", "float32", "bf16", "fp16", "float64", LightningPrecision]
TrainPrecision = Literal["auto", LightningPrecision]
Progress = Literal["auto", "bar", "lines", "none"]
Tracker = Literal["tensorboard", "wandb", "mlflow"]


def _schedule(*names: str) -> Needs:
    """Return the need of one of the schedules with these names."""
    return Needs(f"optim.schedule {' or '.join(names)}", lambda optim: optim.schedule in names)


@dataclass(frozen=True)
class OptimOptions:
    """Optimizer and learning rate schedule. The defaults are the ImageNet recipe of MSG-Transformer.

    Attributes:
        optimizer: Name of any optimizer of timm.
        lr: Peak learning rate.
        lr_batch: Total batch size, over all processes and accumulated batches, that lr, warmup_lr and min_lr are for;
            they are scaled linearly to the actual batch size. null means no scaling.
        weight_decay: Weight decay; 1-d parameters and those that the model exempts have none.
        layer_decay: Factor of the learning rate from each layer to the one below it; null means the same rate for all.
        layer_decay_scratch: Apply layer_decay also to models that start from random weights.
        betas: Betas of Adam-like optimizers; null means the optimizer's default.
        eps: Epsilon of the optimizer; null means the optimizer's default.
        momentum: Momentum; another value than the default is refused for optimizers without it.
        optimizer_args: Further arguments of the optimizer, as in timm.
        schedule: Schedule after the warm-up: "cosine", "poly" (power of the remaining fraction of the training),
            "multistep" (decay at milestones) or "constant".
        milestones: Epochs after which the learning rate decays, for "multistep".
        decay_rate: Factor of each decay, for "multistep".
        power: Exponent, for "poly"; 1 decays linearly.
        warmup_epochs: Epochs, or a fraction of one, in which the learning rate rises from warmup_lr to lr; they are
            part of the schedule.
        warmup_lr: Learning rate of the first step.
        min_lr: Final learning rate, for "cosine" and "poly".
        cooldown_epochs: Epochs at min_lr after the schedule, in addition to --epochs.
        step_on: Update the learning rate every optimizer "step" or every "epoch".
        ema: Decay of an exponential moving average of the weights, such as 0.9999, which is scored and saved beside
            them. The decay itself rises from 0 in the first steps. null means no average.
    """

    optimizer: str = "adamw"
    lr: float = option(1e-3, AT_LEAST_0)
    lr_batch: int | None = option(1024, AT_LEAST_1)
    weight_decay: float = option(0.05, AT_LEAST_0)
    layer_decay: float | None = option(None, ABOVE_0)
    layer_decay_scratch: bool = option(
        True, needs=Needs("optim.layer_decay", lambda optim: optim.layer_decay is not None)
    )
    betas: tuple[float, float] | None = option(None, Range(0, 0.999999))
    eps: float | None = option(None, ABOVE_0)
    momentum: float = option(0.9, PROBABILITY)
    optimizer_args: dict[str, Any] = field(default_factory=dict)
    schedule: Literal["cosine", "poly", "multistep", "constant"] = "cosine"
    milestones: tuple[int, ...] = option((), AT_LEAST_1)
    decay_rate: float = option(0.1, ABOVE_0, needs=_schedule("multistep"))
    power: float = option(1.0, AT_LEAST_0, needs=_schedule("poly"))
    warmup_epochs: float = option(20, AT_LEAST_0)
    warmup_lr: float = option(1e-6, AT_LEAST_0)
    min_lr: float = option(1e-5, AT_LEAST_0, needs=_schedule("cosine", "poly"))
    cooldown_epochs: int = option(0, AT_LEAST_0)
    step_on: Literal["step", "epoch"] = "step"
    ema: float | None = None


@dataclass(frozen=True)
class DistillOptions:
    """Distillation options; they have no effect without a teacher.

    Attributes:
        hard: Use the teacher's top-1 class as a label (hard distillation, as in DeiT) instead of its probabilities.
        alpha: Weight of the distillation loss, from 0 to 1; the loss of the labels has the weight 1 - alpha.
        temperature: Temperature of the logits of both models; not used with hard.
    """

    hard: bool = False
    alpha: float = option(0.5, PROBABILITY)
    temperature: float = option(2.0, ABOVE_0)


@renamed_arguments(accumulate="accumulate_grad_batches", clip_grad="gradient_clip_val")
@dataclass(frozen=True)
class TrainerOptions:
    """Devices, precision and other options of the training loop.

    Attributes:
        accelerator: "auto", "cpu", "gpu" or another accelerator of Lightning.
        devices: Number of devices, "auto" for all, or their indices as in "0,2".
        num_nodes: Number of machines.
        strategy: Lightning's strategy for several devices: "auto", "ddp", ...
        precision: Lightning's name of the number format, or "auto": bf16-mixed on hardware with native bfloat16,
            otherwise 32-true.
        accumulate_grad_batches: Number of batches whose gradients are accumulated for one optimizer step.
        gradient_clip_val: Maximum gradient norm; null means no clipping.
        compile: Compile the model with torch.compile; on a CPU this needs a C++ compiler.
        grad_checkpointing: Recompute activations in the backward pass to save memory.
        sync_batchnorm: Synchronize BatchNorm statistics over all devices; GPUs only.
        deterministic: Refuse operations that are not deterministic.
        start_method: Start method of the worker processes; null means Python's default.
        checkpoint_minutes: Interval of the checkpoints within an epoch, from which an interrupted run resumes.
        patience: Stop after this many epochs without improvement; null means never.
        logger: Also log each epoch to "tensorboard", "wandb" or "mlflow", or to a list of them; each is an extra, as in
            uv sync --extra tensorboard.
        progress: "bar", "lines" (one per epoch) or "none"; "auto" shows a bar in a terminal and lines elsewhere.
    """

    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = option(1, AT_LEAST_1)
    strategy: str = "auto"
    precision: TrainPrecision = "32-true"
    accumulate_grad_batches: int = option(1, AT_LEAST_1)
    gradient_clip_val: float | None = option(5.0, ABOVE_0)
    compile: bool = False
    grad_checkpointing: bool = False
    sync_batchnorm: bool = False
    deterministic: bool = False
    start_method: Literal["fork", "spawn", "forkserver"] | None = None
    checkpoint_minutes: float = option(15.0, AT_LEAST_0)
    patience: int | None = option(None, AT_LEAST_1)
    logger: Tracker | list[Tracker] | None = None
    progress: Progress = "auto"

    @property
    def trackers(self) -> list[Tracker]:
        """Return the loggers as a list."""
        if self.logger is None:
            return []
        return [*self.logger] if isinstance(self.logger, list) else [self.logger]

"""What a user may set about optimization and about the machine; light, so that the command line can read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

LightningPrecision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"]
Precision = Literal["auto", "float32", "bf16", "fp16", "float64", LightningPrecision]
TrainPrecision = Literal["auto", LightningPrecision]
Progress = Literal["auto", "bar", "lines", "none"]
Tracker = Literal["tensorboard", "wandb", "mlflow"]


@dataclass(frozen=True)
class OptimOptions:
    """Optimizer and learning rate. The defaults are MSG-Transformer's recipe on ImageNet.

    Attributes:
        optimizer: Any optimizer that timm knows by name.
        lr: Highest learning rate.
        lr_batch: Batch size, over all processes and accumulated steps, that lr, warmup_lr and min_lr are meant for;
            at another they are scaled in proportion. None: they are taken as they are.
        weight_decay: Weight decay of all parameters but 1-d ones and those the model exempts.
        layer_decay: Factor of the learning rate from each layer to the one below it; None: all learn alike.
        layer_decay_scratch: Whether it acts on a model that starts from random weights too, whose lower layers have
            everything to learn.
        betas: Decay of AdamW's running means; None: the optimizer's own.
        eps: The optimizer's epsilon; None: its own.
        momentum: Momentum, for optimizers that have one.
        optimizer_args: Further settings of the optimizer, by the names that timm has for them.
        schedule: After the warm-up, fall along a "cosine" or a power of what is left ("poly"), fall at milestones
            ("multistep") or stay "constant".
        milestones: Epochs after which the rate falls, for "multistep".
        decay_rate: Factor by which it falls there.
        power: Of the part of the training that is left, for "poly"; 1 falls along a line.
        warmup_epochs: Epochs, or a part of one, in which the rate rises from warmup_lr to lr; the cosine and the
            others count them in.
        warmup_lr: Learning rate of the first step.
        min_lr: Learning rate at the end of the cosine or poly.
        cooldown_epochs: Epochs at min_lr after the last of the schedule, over and above those asked for.
        step_on: Change the rate every optimizer "step" or every "epoch".
        ema: Decay of a moving average of the weights, such as 0.9999, which is scored and saved beside them; it rises
            to this from 0 in the first steps. None: no average.
    """

    optimizer: str = "adamw"
    lr: float = 1e-3
    lr_batch: int | None = 1024
    weight_decay: float = 0.05
    layer_decay: float | None = None
    layer_decay_scratch: bool = True
    betas: tuple[float, float] | None = None
    eps: float | None = None
    momentum: float = 0.9
    optimizer_args: dict[str, Any] = field(default_factory=dict)
    schedule: Literal["cosine", "poly", "multistep", "constant"] = "cosine"
    milestones: tuple[int, ...] = ()
    decay_rate: float = 0.1
    power: float = 1.0
    warmup_epochs: float = 20
    warmup_lr: float = 1e-6
    min_lr: float = 1e-5
    cooldown_epochs: int = 0
    step_on: Literal["step", "epoch"] = "step"
    ema: float | None = None


@dataclass(frozen=True)
class DistillOptions:
    """How a classifier learns from a teacher; nothing of it acts without one.

    Attributes:
        hard: Learn the teacher's likeliest class, as DeiT does, instead of all its probabilities.
        alpha: Weight of the teacher's part in the loss, from 0 to 1; the labels' has the rest.
        temperature: What both models' logits are divided by before probabilities are compared; not for hard.
    """

    hard: bool = False
    alpha: float = 0.5
    temperature: float = 2.0


@dataclass(frozen=True)
class TrainerOptions:
    """The machine, and how the steps run on it.

    Attributes:
        accelerator: "auto", "cpu", "gpu" or another that Lightning knows.
        devices: How many devices, "auto" for all of a kind, or their numbers as in "0,2".
        num_nodes: How many machines.
        strategy: How devices share the work, in Lightning's words: "auto", "ddp", ...
        precision: Number format, in Lightning's words, or "auto": bf16-mixed where the machine multiplies in bfloat16
            itself, 32-true elsewhere.
        accumulate: Batches whose gradients are summed for one optimizer step.
        clip_grad: Longest gradient norm; None: any.
        compile: Compile the model with torch.compile; on CPU that needs a C++ compiler.
        grad_checkpointing: Compute activations again in the backward pass instead of keeping them.
        sync_batchnorm: Average the statistics of BatchNorm over all devices; on GPUs only.
        deterministic: Refuse operations that may give another result when repeated.
        start_method: How worker processes start; None: Python's default.
        checkpoint_minutes: How long an epoch may go on without a checkpoint that a stopped run can go on from.
        patience: Epochs without a better one after which the training stops; None: it goes on to its end.
        logger: Send each epoch's numbers to "tensorboard", "wandb" or "mlflow", or to a list of them, beside the run
            folder's own table; each is an extra to install, as in pip install 'msgformer[tensorboard]'.
        progress: A "bar", "lines" (one an epoch), "none", or "auto": a bar in a terminal, otherwise lines.
    """

    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    precision: TrainPrecision = "32-true"
    accumulate: int = 1
    clip_grad: float | None = 5.0
    compile: bool = False
    grad_checkpointing: bool = False
    sync_batchnorm: bool = False
    deterministic: bool = False
    start_method: Literal["fork", "spawn", "forkserver"] | None = None
    checkpoint_minutes: float = 15.0
    patience: int | None = None
    logger: Tracker | list[Tracker] | None = None
    progress: Progress = "auto"

    @property
    def trackers(self) -> list[Tracker]:
        """The loggers as a list."""
        if self.logger is None:
            return []
        return [*self.logger] if isinstance(self.logger, list) else [self.logger]

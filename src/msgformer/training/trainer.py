"""Lightning's trainer with the options of this package."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from msgformer.config.training_options import TrainerOptions
from msgformer.errors import UserError
from msgformer.training.callbacks import StateGuard
from msgformer.training.checkpoint import AtomicCheckpointIO
from msgformer.training.precision import resolve_precision
from msgformer.training.progress import progress_callbacks

IGNORED_WARNINGS = (
    # The user chooses the number of workers; for a small data set, more workers are slower.
    r".*does not have many workers.*",
    # Lightning's own code calls a deprecated function of torch.
    r".*LeafSpec.* is deprecated.*",
    # The sampler skips the batches of a resumed epoch, without a state of the loader.
    r".*ended before the epoch ended and your dataloader is not resumable.*",
    # The strides of a matrix of one row or column are meaningless.
    r".*Grad strides do not match bucket view strides.*",
    # `build_trainer` raises an error instead.
    r".*AMP with fp16 is not supported on CPU.*",
    # A training on all images has no validation images.
    r"Total length of `list` across ranks is zero.*",
    # The moving average of the weights is always in evaluation mode.
    r".*module\(s\) in eval mode at the start of training.*",
)
"""Lightning's warnings that don't require an action of the user."""


@contextmanager
def quiet() -> Iterator[None]:
    """Hide Lightning's notes about devices and products, and the warnings in `IGNORED_WARNINGS`."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for pattern in IGNORED_WARNINGS:
                warnings.filterwarnings("ignore", pattern)
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def lightning_errors() -> Iterator[None]:
    """Convert Lightning's errors about its arguments, such as a missing device, to `UserError`."""
    try:
        yield
    except (MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"Lightning refuses these settings: {' '.join(str(error).split())}") from error


def build_trainer(options: TrainerOptions, **settings: Any) -> Trainer:
    """Build Lightning's trainer.

    Args:
        options: Options of the trainer.
        **settings: Further arguments of Lightning's trainer.

    Raises:
        UserError: Lightning rejects an option, such as a missing device.
    """
    callbacks = [*progress_callbacks(options.progress), *settings.pop("callbacks", [])]
    precision = resolve_precision(options.precision, options.accelerator)
    with lightning_errors():
        trainer = Trainer(
            accelerator=options.accelerator,
            devices=options.devices,
            num_nodes=options.num_nodes,
            strategy=options.strategy,
            precision=precision,
            accumulate_grad_batches=options.accumulate_grad_batches,
            gradient_clip_val=options.gradient_clip_val,
            sync_batchnorm=options.sync_batchnorm,
            deterministic=options.deterministic,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO(StateGuard().clean)],
            logger=False,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
            enable_model_summary=False,
            use_distributed_sampler=False,
            **settings,
        )
    if precision == "16-mixed" and isinstance(trainer.accelerator, CPUAccelerator):
        raise UserError("trainer.precision: 16-mixed needs a GPU, and this runs on the CPU; use bf16-mixed or 32-true")
    return trainer

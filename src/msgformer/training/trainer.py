"""Lightning's trainer with this package's settings."""

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
from msgformer.training.precision import known_precision
from msgformer.training.progress import progress_callbacks

NOISE = (
    # How many workers suit a small data set is the user's to say; more would cost more than they bring.
    r".*does not have many workers.*",
    # Its own code calls torch in a way that torch is about to change.
    r".*LeafSpec.* is deprecated.*",
    # The sampler knows the batches that an epoch has seen, without a state of the loader.
    r".*ended before the epoch ended and your dataloader is not resumable.*",
    # A matrix of one row or column has strides that mean nothing.
    r".*Grad strides do not match bucket view strides.*",
    # That is refused.
    r".*AMP with fp16 is not supported on CPU.*",
    # The moving average of the weights never trains.
    r".*module\(s\) in eval mode at the start of training.*",
)
"""Lightning's warnings that tell the user nothing to act upon."""


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's notes about devices and products, and the warnings in ``NOISE``."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for pattern in NOISE:
                warnings.filterwarnings("ignore", pattern)
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def refusals() -> Iterator[None]:
    """What Lightning refuses, such as a device that isn't there, as a user's error."""
    try:
        yield
    except (MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"Lightning refuses these settings: {' '.join(str(error).split())}") from error


def build_trainer(options: TrainerOptions, **settings: Any) -> Trainer:
    """A trainer.

    Args:
        options: The user's settings of the machine.
        **settings: Further arguments of Lightning's trainer.

    Raises:
        UserError: Lightning refuses the settings, for example a device that isn't there.
    """
    callbacks = [*progress_callbacks(options.progress), *settings.pop("callbacks", [])]
    precision = known_precision(options.precision, options.accelerator)
    with refusals():
        trainer = Trainer(
            accelerator=options.accelerator,
            devices=options.devices,
            num_nodes=options.num_nodes,
            strategy=options.strategy,
            precision=precision,
            accumulate_grad_batches=options.accumulate,
            gradient_clip_val=options.clip_grad,
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

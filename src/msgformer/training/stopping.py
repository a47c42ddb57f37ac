"""Stopping by a signal, and checkpoints within an epoch."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from msgformer.training.run_files import RunFiles

SIGNALS = [number for name in ("SIGINT", "SIGTERM", "SIGUSR1") if (number := getattr(signal, name, None)) is not None]
"""Signals that stop a training: Ctrl-C, termination, and SLURM's warning (``--signal=USR1@60``)."""


class StoppedError(Exception):
    """A training has stopped because of a signal, and its state is saved.

    Args:
        number: Number of the signal.
        where: Description of the position in the training.
    """

    def __init__(self, number: int, where: str) -> None:
        super().__init__(where)
        self.number = number


class StopOnSignal(Callback):
    """Saves and stops after the optimizer step in which a signal arrived; saves at regular intervals too.

    All processes stop after the same step, whichever of them received the signal. A second Ctrl-C interrupts at once.

    Args:
        files: Writes the checkpoint.
        minutes: Interval of the checkpoints within an epoch; 0 saves after each step.
    """

    def __init__(self, files: RunFiles, minutes: float) -> None:
        self.files, self.minutes = files, minutes
        self.number = 0
        self._min_val_batches = 0

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the signal handlers; Lightning restores the previous ones after the training.

        Lightning's own handlers save nothing, and communicate with other processes in the middle of a step.

        Args:
            trainer: Unused.
            pl_module: Unused.
        """
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == self.number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        self.number = number
        if number == signal.SIGINT:  # print is not reentrant, and may be what the signal interrupts
            os.write(2, b"stopping after this step; press Ctrl-C again to stop at once\n")

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if a checkpoint is due, and stop after a signal, unless gradients are being accumulated.

        Args:
            trainer: Lightning's trainer.
            pl_module: Unused.
            outputs: Unused.
            batch: Unused.
            batch_idx: Index of the batch in the epoch.
        """
        if (batch_idx + 1) % trainer.accumulate_grad_batches and not trainer.is_last_batch:
            return
        is_due = time.monotonic() - self.files.last_saved >= 60 * self.minutes
        number, is_due = self._synchronize(trainer, is_due)
        if number or is_due:
            self.files.save_last(trainer)
        if number:
            raise StoppedError(number, _describe_position(trainer))

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the smallest number of validation batches of any process.

        Args:
            trainer: Lightning's trainer.
            pl_module: Unused.
        """
        batches = torch.tensor(sum(trainer.num_val_batches), device=trainer.strategy.root_device)
        if trainer.world_size > 1:
            torch.distributed.all_reduce(batches, torch.distributed.ReduceOp.MIN)
        self._min_val_batches = int(batches)

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Save and stop after a signal; a resumed run repeats the validation.

        Args:
            trainer: Lightning's trainer.
            pl_module: Unused.
            outputs: Unused.
            batch: Unused.
            batch_idx: Index of the batch in the validation.
            dataloader_idx: Unused.
        """
        if batch_idx >= self._min_val_batches:
            return
        number, _ = self._synchronize(trainer, False)
        if number:
            self.files.save_last(trainer)
            raise StoppedError(number, f"{_describe_position(trainer)}, in its validation")

    def _synchronize(self, trainer: Trainer, is_due: bool) -> tuple[int, bool]:
        """Return the signal that any process received, and whether a checkpoint is due in the first process."""
        if trainer.world_size == 1:
            return self.number, is_due
        state = torch.tensor([self.number, is_due and trainer.is_global_zero], device=trainer.strategy.root_device)
        torch.distributed.all_reduce(state, torch.distributed.ReduceOp.MAX)
        number, is_due = state.tolist()
        return number, bool(is_due)


def _describe_position(trainer: Trainer) -> str:
    done = trainer.fit_loop.batch_idx + 1
    return f"in epoch {trainer.current_epoch + 1} after batch {done} of {trainer.num_training_batches}"

"""What happens within an epoch: a training is told to stop, or has gone for long without a checkpoint."""

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
"""What stops a training: Ctrl-C, the end that is near on a cluster, and what SLURM's ``--signal=USR1@60`` sends."""


class StoppedError(Exception):
    """A training has stopped because of a signal, and is saved.

    Args:
        number: The signal.
        where: How far it has come, in words.
    """

    def __init__(self, number: int, where: str) -> None:
        super().__init__(where)
        self.number = number


class Stopping(Callback):
    """Saves and leaves after the optimiser step in which a signal arrived, and saves now and then without leaving.

    All processes stop after the same step, whichever of them got the signal. A second Ctrl-C interrupts at once.

    Args:
        files: What saves.
        minutes: How long an epoch may go on without a checkpoint; 0: not longer than a step.
    """

    def __init__(self, files: RunFiles, minutes: float) -> None:
        self.files, self.minutes = files, minutes
        self.number = 0
        self._shared_batches = 0

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to signals; Lightning puts back what it found once the training is over.

        Lightning's own way with them leaves nothing saved, and talks to other processes in the middle of a step.
        """
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == self.number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        self.number = number
        if number == signal.SIGINT:  # printing could meet another print that is under way
            os.write(2, b"stopping after this step; Ctrl-C once more stops at once\n")

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, and leave if told to, unless gradients are being accumulated."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches and not trainer.is_last_batch:
            return
        due = time.monotonic() - self.files.saved >= 60 * self.minutes
        number, due = self._agree(trainer, due)
        if number or due:
            self.files.save_last(trainer)
        if number:
            raise StoppedError(number, _place(trainer))

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out how many batches all processes have."""
        batches = torch.tensor(sum(trainer.num_val_batches), device=trainer.strategy.root_device)
        if trainer.world_size > 1:
            torch.distributed.all_reduce(batches, torch.distributed.ReduceOp.MIN)
        self._shared_batches = int(batches)

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
        """Save and leave, if told to; the validation is then done anew."""
        if batch_idx >= self._shared_batches:
            return
        number, _ = self._agree(trainer, False)
        if number:
            self.files.save_last(trainer)
            raise StoppedError(number, f"{_place(trainer)}, in its validation")

    def _agree(self, trainer: Trainer, due: bool) -> tuple[int, bool]:
        """The signal that any process got, and whether the first one finds that a checkpoint is due."""
        if trainer.world_size == 1:
            return self.number, due
        said = torch.tensor([self.number, due and trainer.is_global_zero], device=trainer.strategy.root_device)
        torch.distributed.all_reduce(said, torch.distributed.ReduceOp.MAX)
        number, due = said.tolist()
        return number, bool(due)


def _place(trainer: Trainer) -> str:
    done = trainer.fit_loop.batch_idx + 1
    return f"in epoch {trainer.current_epoch + 1} after batch {done} of {trainer.num_training_batches}"

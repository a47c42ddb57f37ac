"""What a training leaves in its run folder after each epoch: the table of metrics, the best and the last weights."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from typing_extensions import override

from msgformer.training.checkpoint import write_atomically

METRICS_FILE = "metrics.csv"
BEST, LAST = "best.ckpt", "last.ckpt"

Row = dict[str, float]
"""One epoch: its number from 1, optimiser steps so far, the learning rate reached, and what was logged."""


class RunFiles(Checkpoint):
    """Writes ``metrics.csv``, ``best.ckpt`` and ``last.ckpt`` after each epoch.

    The rows written so far are part of the last checkpoint, so a resumed run's table has the epochs that its weights
    have seen, once each. Lightning's own checkpoint callback would compare one metric alone; here the lower
    validation loss decides between epochs of equal accuracy.

    Args:
        begin: Gives the run folder, making it if the run is new; called by the first process alone, once all are up.

    Attributes:
        folder: Run folder, known once the training is set up.
        rows: One row an epoch.
    """

    folder: Path

    def __init__(self, begin: Callable[[], Path]) -> None:
        self.begin = begin
        self.rows: list[Row] = []

    @property
    def best(self) -> Row:
        """The row of the best epoch: the highest top-1, of those the lowest loss, of those the first."""
        return min(self.rows, key=lambda row: (-row["val/top1"], row["val/loss"]))

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have the run folder made, and tell all processes of it."""
        folder = self.begin() if trainer.is_global_zero else Path()
        self.folder = trainer.strategy.broadcast(folder)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch's row and write the files."""
        logged = {name: value.item() for name, value in sorted(trainer.callback_metrics.items())}
        rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        self.rows.append({"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "lr": rate, **logged})
        if trainer.is_global_zero:
            write_atomically(self.folder / METRICS_FILE, self._write_rows)
        if self.best is self.rows[-1]:
            trainer.save_checkpoint(self.folder / BEST, weights_only=True)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)

    def _write_rows(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.rows[-1]))
            writer.writeheader()
            writer.writerows({name: f"{value:.8g}" for name, value in row.items()} for row in self.rows)

    @override
    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows of the checkpoint that is resumed."""
        self.rows = state_dict["rows"]

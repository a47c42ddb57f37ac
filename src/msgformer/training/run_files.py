"""Files of a training in its run folder: the table of metrics, the best weights, and the checkpoint to resume from."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from typing_extensions import override

from msgformer.checkpoints.checkpoint_file import EMA_PREFIX, PREFIX, write_atomically
from msgformer.checkpoints.model_location import BEST, LAST
from msgformer.training.best import Row
from msgformer.training.checkpoint import BEST_EMA
from msgformer.training.module import EMA, Training

METRICS_FILE = "metrics.csv"

Report = Callable[[Trainer, Row], None]
"""Called with the trainer and the metrics of a finished epoch, in the first process."""


class RunFiles(Checkpoint):
    """Writes ``metrics.csv``, ``best.ckpt``, ``last.ckpt`` and, for averaged weights, ``best_ema.ckpt``.

    All files are written after each epoch; `save_last` also writes ``last.ckpt`` within an epoch. This checkpoint holds
    the rows of the table, so a resumed run has no epoch twice. Lightning's own checkpoint callback can't break ties by
    a second metric.

    Args:
        open_folder: Returns the run folder, and creates that of a new run; called in the first process, after all
            processes have started.
        report: Called after each epoch.

    Attributes:
        reports: Called after each epoch, in the first process.
        patience: Number of epochs without improvement after which the training stops; None never stops early.
        folder: Run folder; None before the training is set up.
        rows: One row per epoch.
        last_saved: Time of the last checkpoint, by ``time.monotonic``.
    """

    def __init__(self, open_folder: Callable[[], Path], report: Report | None = None) -> None:
        self.open_folder = open_folder
        self.reports = [] if report is None else [report]
        self.patience: int | None = None
        self.folder: Path | None = None
        self.rows: list[Row] = []
        self.last_saved = self._start = time.monotonic()
        self._previous_seconds = 0.0

    @property
    def seconds(self) -> float:
        """Seconds spent on the current epoch, including those before an interruption."""
        return self._previous_seconds + time.monotonic() - self._start

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Open the run folder, and send its path to all processes.

        Args:
            trainer: Lightning's trainer.
            pl_module: Unused.
            stage: Unused.
        """
        folder = self.open_folder() if trainer.is_global_zero else Path()
        self.folder = trainer.strategy.broadcast(folder)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the timer; Lightning calls no other hook for an epoch that is resumed in the middle.

        Args:
            trainer: Lightning's trainer.
            pl_module: The trained module.
        """
        self.last_saved = self._start = time.monotonic()
        self._stop_early(trainer, pl_module)  # if the resumed run had already stopped early

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the row of the epoch, and write the files.

        Args:
            trainer: Lightning's trainer.
            pl_module: The trained module.
        """
        assert isinstance(pl_module, Training)
        assert self.folder is not None
        self.rows.append({**_row(trainer, pl_module), "seconds": self.seconds})
        self._start, self._previous_seconds = time.monotonic(), 0.0
        if trainer.is_global_zero:
            write_atomically(self.folder / METRICS_FILE, self._write_rows)
        for prefix, name in (("", BEST), (EMA, BEST_EMA)):
            best = pl_module.best.with_prefix(prefix)
            if prefix in pl_module.evaluated_models() and best.select(self.rows) is self.rows[-1]:
                _save_weights(trainer, pl_module, prefix, self.folder / name)
        self.save_last(trainer)
        for report in self.reports if trainer.is_global_zero else ():
            report(trainer, self.rows[-1])
        self._stop_early(trainer, pl_module)

    def _stop_early(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop if neither the weights nor their average have improved within `patience` epochs."""
        assert isinstance(module, Training)
        if self.patience is None or not self.rows:
            return
        rules = [module.best.with_prefix(prefix) for prefix in module.evaluated_models()]
        latest = max(rule.select(self.rows)["epoch"] for rule in rules)
        if self.rows[-1]["epoch"] - latest >= self.patience:
            trainer.should_stop = True

    def save_last(self, trainer: Trainer) -> None:
        """Write the checkpoint to resume from; every process must call this, after the same optimizer step."""
        assert self.folder is not None
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.last_saved = time.monotonic()

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let a run that stopped in the validation of an epoch resume at the beginning of that validation.

        Lightning would skip the validation, or the finished part of it.

        Args:
            trainer: Lightning's trainer.
            pl_module: Unused.
            checkpoint: Content of the checkpoint, changed in place.
        """
        loops = checkpoint["loops"]["fit_loop"]
        epochs = loops["epoch_progress"]["current"]
        if trainer.is_last_batch and epochs["processed"] < epochs["ready"]:
            for count in ("total", "current"):
                batches = loops["epoch_loop.batch_progress"][count]
                batches["completed"] = batches["ready"]
                # State of a validation whose first batch has started.
                loops["epoch_loop.val_loop.batch_progress"][count] = dict(ready=1, started=1, processed=0, completed=0)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the count of validation batches, which a resumed run restores from its checkpoint.

        Args:
            trainer: Lightning's trainer.
            pl_module: Unused.
        """
        trainer.fit_loop.epoch_loop.val_loop.batch_progress.reset()

    def _write_rows(self, path: Path) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=columns, restval="")
            writer.writeheader()
            writer.writerows({name: f"{value:.8g}" for name, value in row.items()} for row in self.rows)

    @override
    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far, and the seconds of the current epoch."""
        return {"rows": self.rows, "seconds": self.seconds}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rows and the seconds of the current epoch."""
        self.rows, self._previous_seconds = state_dict["rows"], state_dict["seconds"]


def _row(trainer: Trainer, module: Training) -> Row:
    """Return the metrics of the finished epoch."""
    means = module.means.compute_and_reset(trainer.strategy)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    logged |= {f"train/{name}": value for name, value in means.items()}
    rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
    return {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "lr": rate, **dict(sorted(logged.items()))}


def _save_weights(trainer: Trainer, module: Training, prefix: str, path: Path) -> None:
    """Write the weights of the model, or of its average under the same names, with the card and nothing else."""
    state = trainer.strategy.lightning_module_state_dict()
    source = EMA_PREFIX if prefix else PREFIX
    weights = {PREFIX + key.removeprefix(source): value for key, value in state.items() if key.startswith(source)}
    checkpoint = {"state_dict": weights, "epoch": trainer.current_epoch, "global_step": trainer.global_step}
    module.card.write(checkpoint)
    trainer.strategy.save_checkpoint(checkpoint, path)

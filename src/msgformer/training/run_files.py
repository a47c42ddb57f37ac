"""What a training leaves in its run folder: the table of metrics, the best weights, and what it can go on from."""

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
"""What is done with a finished epoch's row by the first process."""


class RunFiles(Checkpoint):
    """Writes ``metrics.csv``, ``best.ckpt``, ``last.ckpt`` and, of averaged weights, ``best_ema.ckpt``.

    The rows written so far are part of the last checkpoint, so a resumed run's table has the epochs that its weights
    have seen, once each. Lightning's own checkpoint callback would compare one metric alone; here a second one may
    decide between epochs that are equal in the first. All is written after each epoch, the last checkpoint also when
    :meth:`save_last` is called within one.

    Args:
        begin: Gives the run folder, making it if the run is new; called by the first process alone, once all are up.
        report: Is told every epoch's row.

    Attributes:
        reports: Are told every epoch's row, in the first process.
        patience: Epochs without a better one after which the training stops; None: it goes on to its end.
        folder: Run folder, known once the training is set up; None before.
        rows: One row an epoch.
        saved: When the last checkpoint was written, by ``time.monotonic``.
    """

    def __init__(self, begin: Callable[[], Path], report: Report | None = None) -> None:
        self.begin = begin
        self.reports = [] if report is None else [report]
        self.patience: int | None = None
        self.folder: Path | None = None
        self.rows: list[Row] = []
        self.saved = self._start = time.monotonic()
        self._spent = 0.0

    @property
    def seconds(self) -> float:
        """Seconds spent on the running epoch, those before an interruption included."""
        return self._spent + time.monotonic() - self._start

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have the run folder made, and tell all processes of it."""
        folder = self.begin() if trainer.is_global_zero else Path()
        self.folder = trainer.strategy.broadcast(folder)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock: an epoch that is resumed in its middle doesn't begin anew."""
        self.saved = self._start = time.monotonic()
        self._stop_early(trainer, pl_module)  # as a run did before, that is resumed

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch's row and write the files."""
        assert isinstance(pl_module, Training)
        assert self.folder is not None
        self.rows.append({**_row(trainer, pl_module), "seconds": self.seconds})
        self._start, self._spent = time.monotonic(), 0.0
        if trainer.is_global_zero:
            write_atomically(self.folder / METRICS_FILE, self._write_rows)
        for prefix, name in (("", BEST), (EMA, BEST_EMA)):
            if prefix in pl_module.candidates() and pl_module.best.with_prefix(prefix).of(self.rows) is self.rows[-1]:
                _save_weights(trainer, pl_module, prefix, self.folder / name)
        self.save_last(trainer)
        for report in self.reports if trainer.is_global_zero else ():
            report(trainer, self.rows[-1])
        self._stop_early(trainer, pl_module)

    def _stop_early(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop once neither the weights nor their average have become better for long."""
        assert isinstance(module, Training)
        if self.patience is None or not self.rows:
            return
        rules = [module.best.with_prefix(prefix) for prefix in module.candidates()]
        latest = max(rule.of(self.rows)["epoch"] for rule in rules)
        if self.rows[-1]["epoch"] - latest >= self.patience:
            trainer.should_stop = True

    def save_last(self, trainer: Trainer) -> None:
        """Write all that a training goes on from; every process must call this, after the same optimiser step."""
        assert self.folder is not None
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.saved = time.monotonic()

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Have an epoch whose batches are done, but whose validation isn't, go on with all of its validation.

        Lightning would leave the validation out, or the part of it that was done.
        """
        loops = checkpoint["loops"]["fit_loop"]
        epochs = loops["epoch_progress"]["current"]
        if trainer.is_last_batch and epochs["processed"] < epochs["ready"]:
            for count in ("total", "current"):
                batches = loops["epoch_loop.batch_progress"][count]
                batches["completed"] = batches["ready"]
                # Its first batch has begun, and isn't done.
                loops["epoch_loop.val_loop.batch_progress"][count] = dict(ready=1, started=1, processed=0, completed=0)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count a validation's batches from its first one, whatever was done of it before the run was stopped."""
        trainer.fit_loop.epoch_loop.val_loop.batch_progress.reset()

    def _write_rows(self, path: Path) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=columns, restval="")
            writer.writeheader()
            writer.writerows({name: f"{value:.8g}" for name, value in row.items()} for row in self.rows)

    @override
    def state_dict(self) -> dict[str, Any]:
        """The rows so far, and how long the running epoch has taken."""
        return {"rows": self.rows, "seconds": self.seconds}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows of the checkpoint that is resumed."""
        self.rows, self._spent = state_dict["rows"], state_dict["seconds"]


def _row(trainer: Trainer, module: Training) -> Row:
    """What the epoch that ends came to."""
    means = module.means.take(trainer.strategy)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    logged |= {f"train/{name}": value for name, value in means.items()}
    rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
    return {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "lr": rate, **dict(sorted(logged.items()))}


def _save_weights(trainer: Trainer, module: Training, prefix: str, path: Path) -> None:
    """Write the weights of the model or of its average, by the same names, with the card and nothing else."""
    state = trainer.strategy.lightning_module_state_dict()
    source = EMA_PREFIX if prefix else PREFIX
    weights = {PREFIX + key.removeprefix(source): value for key, value in state.items() if key.startswith(source)}
    checkpoint = {"state_dict": weights, "epoch": trainer.current_epoch, "global_step": trainer.global_step}
    module.card.write(checkpoint)
    trainer.strategy.save_checkpoint(checkpoint, path)

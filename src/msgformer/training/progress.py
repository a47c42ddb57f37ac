"""How a training shows on standard error."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar
from typing_extensions import override


def progress_callbacks(kind: str) -> list[Callback]:
    """What shows the progress.

    Args:
        kind: "bar", "lines", "none", or "auto" for a bar in a terminal and lines elsewhere, as in a log file.
    """
    if kind == "auto":
        kind = "bar" if sys.stderr.isatty() else "lines"
    if kind == "bar":
        return [Bar(refresh_rate=10, console_kwargs={"stderr": True}), EpochLines()]
    return [EpochLines()] if kind == "lines" else []


class Bar(RichProgressBar):
    """Lightning's bar of the running epoch, counted from 1, without the version of a logger that isn't there."""

    @override
    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The metrics beside the bar."""
        return {key: value for key, value in super().get_metrics(trainer, pl_module).items() if key != "v_num"}

    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"


class EpochLines(Callback):
    """One line an epoch: losses, accuracy, learning rate, seconds."""

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line, above the bar if there is one."""
        if not trainer.is_global_zero:
            return
        metrics = trainer.callback_metrics
        seconds = time.monotonic() - self._start
        line = (
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            f"  train/loss {metrics['train/loss']:.4f}  val/loss {metrics['val/loss']:.4f}"
            f"  val/top1 {metrics['val/top1']:.2f} %  {seconds:.1f} s"
        )
        if trainer.progress_bar_callback is not None:
            trainer.progress_bar_callback.print(line)
        else:
            print(line, file=sys.stderr, flush=True)

"""Progress of a training on standard error."""

from __future__ import annotations

import sys
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar
from typing_extensions import override

from msgformer.training.best import Row
from msgformer.training.module import Training
from msgformer.training.run_files import Report


def progress_callbacks(kind: str) -> list[Callback]:
    """Return the callbacks that show the progress within an epoch.

    Args:
        kind: "bar", "lines", "none", or "auto" for a bar in a terminal and lines elsewhere, as in a log file.
    """
    has_bar = kind == "bar" or (kind == "auto" and sys.stderr.isatty())
    return [EpochBar(refresh_rate=10, console_kwargs={"stderr": True})] if has_bar else []


def epoch_report(kind: str) -> Report | None:
    """Return the function that reports each finished epoch; None for no report.

    Args:
        kind: As for `progress_callbacks`.
    """
    return None if kind == "none" else print_epoch


class EpochBar(RichProgressBar):
    """Lightning's progress bar of the current epoch, with epochs counted from 1 and without the logger's version."""

    @override
    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the metrics beside the bar.

        Args:
            trainer: Lightning's trainer.
            pl_module: The trained module.
        """
        return {key: value for key, value in super().get_metrics(trainer, pl_module).items() if key != "v_num"}

    # Private, since Lightning has no public method for the text before the bar.
    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"


def print_epoch(trainer: Trainer, row: Row) -> None:
    """Print one line with the losses, the deciding metrics and the seconds of an epoch, above the bar if there is one.

    Args:
        trainer: Lightning's trainer.
        row: Metrics of the epoch.
    """
    module = trainer.lightning_module
    assert isinstance(module, Training)
    losses = [f"{name} {row[name]:.4f}" for name in ("train/loss", "val/loss") if name in row]
    deciding = [module.best.with_prefix(prefix).metric for prefix in module.evaluated_models()]
    scores = [
        f"{name} {row[name]:.2f} %" for name in deciding if name in row and name not in ("train/loss", "val/loss")
    ]
    line = "  ".join([f"epoch {int(row['epoch'])}/{trainer.max_epochs}", *losses, *scores, f"{row['seconds']:.1f} s"])
    if trainer.progress_bar_callback is not None:
        trainer.progress_bar_callback.print(line)
    else:
        print(line, file=sys.stderr, flush=True)

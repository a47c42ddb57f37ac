"""Result of training a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgformer.utils.result import Result


@dataclass(frozen=True)
class TrainResult(Result):
    """Result of training a classifier.

    Attributes:
        run: Run folder.
        checkpoint: Weights of the best epoch.
        epoch: The best epoch, from 1.
        top1: Its validation accuracy in percent.
        top5: Its validation accuracy within the five most probable classes, in percent.
        loss: Its validation loss.
        epochs: Number of trained epochs.
        seconds: Duration of this call.
    """

    run: Path
    checkpoint: Path
    epoch: int
    top1: float
    top5: float
    loss: float
    epochs: int
    seconds: float

    def table(self) -> str:
        """Return the scores of the best epoch, and the next command."""
        return (
            f"best epoch {self.epoch} of {self.epochs}: top-1 {self.top1:.2f} %, top-5 {self.top5:.2f} %,"
            f" loss {self.loss:.4f} ({self.seconds:.0f} s)\n"
            f"run folder {self.run}; 'msgformer predict {self.run} IMAGE ...' classifies images"
        )

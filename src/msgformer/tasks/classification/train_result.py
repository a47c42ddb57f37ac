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
        epoch: The best epoch, from 1; the last one if there are no validation images.
        top1: Its validation accuracy in percent; this and the next two are None if there are no validation images.
        top5: Its validation accuracy within the five most probable classes, in percent.
        loss: Its validation loss.
        epochs: Number of trained epochs.
        seconds: Duration of this call.
    """

    run: Path
    checkpoint: Path
    epoch: int
    top1: float | None
    top5: float | None
    loss: float | None
    epochs: int
    seconds: float

    def table(self) -> str:
        """Return the scores of the best epoch, and the next command."""
        if self.top1 is None or self.top5 is None or self.loss is None:
            scores = f"trained {self.epochs} epochs on all images, without validation"
        else:
            scores = (
                f"best epoch {self.epoch} of {self.epochs}: top-1 {self.top1:.2f} %, top-5 {self.top5:.2f} %,"
                f" loss {self.loss:.4f}"
            )
        return (
            f"{scores} ({self.seconds:.0f} s)\n"
            f"run folder {self.run}; 'msgformer predict {self.run} IMAGE ...' classifies images"
        )

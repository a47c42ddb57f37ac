"""Result of training a detector or a segmenter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgformer.tasks.dense.scores import named_scores
from msgformer.utils.result import Result


@dataclass(frozen=True)
class DenseTrainResult(Result):
    """Result of training a detector or a segmenter.

    Attributes:
        task: "detect" or "segment".
        run: Run folder.
        checkpoint: Weights of the best epoch.
        epoch: The best epoch, from 1.
        scores: Its validation scores by name; all but the loss in percent.
        epochs: Number of trained epochs.
        seconds: Duration of this call.
    """

    task: str
    run: Path
    checkpoint: Path
    epoch: int
    scores: dict[str, float]
    epochs: int
    seconds: float

    def table(self) -> str:
        """Return the scores of the best epoch, and the next command."""
        return (
            f"best epoch {self.epoch} of {self.epochs}: {named_scores(self.scores)} ({self.seconds:.0f} s)\n"
            f"run folder {self.run}; 'msgformer predict {self.run} IMAGE ... --output FOLDER' draws predictions"
        )

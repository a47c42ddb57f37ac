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
        epoch: The best epoch, from 1; the last one if there are no validation images.
        scores: Its validation scores by name, all but the loss in percent; None if there are no validation images.
        epochs: Number of trained epochs.
        seconds: Duration of this call.
    """

    task: str
    run: Path
    checkpoint: Path
    epoch: int
    scores: dict[str, float | None]
    epochs: int
    seconds: float

    def table(self) -> str:
        """Return the scores of the best epoch, and the next command."""
        if None in self.scores.values():
            scores = f"trained {self.epochs} epochs on all images, without validation"
        else:
            scores = f"best epoch {self.epoch} of {self.epochs}: {named_scores(self.scores)}"
        return (
            f"{scores} ({self.seconds:.0f} s)\n"
            f"run folder {self.run}; 'msgformer predict {self.run} IMAGE ... --output FOLDER' draws predictions"
        )

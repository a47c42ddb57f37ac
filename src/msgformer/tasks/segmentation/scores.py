"""Scores of a segmenter, as a person reads them."""

from __future__ import annotations

from dataclasses import dataclass

from msgformer.tasks.dense_scores import DenseEvaluateResult, shown_score


@dataclass(frozen=True)
class SegmentationEvaluateResult(DenseEvaluateResult):
    """Scores of a segmenter: mean intersection over union and accuracies in per cent, and the loss."""

    def summary(self) -> str:
        """Return all scores in one line."""
        return ", ".join(f"{name.replace('_', ' ')} {shown_score(value, name)}" for name, value in self.scores.items())

    def compared(self) -> tuple[str, ...]:
        """Return all scores."""
        return tuple(self.scores)

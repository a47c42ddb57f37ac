"""Scores of a segmenter."""

from __future__ import annotations

from dataclasses import dataclass

from msgformer.tasks.dense.scores import DenseEvaluateResult, named_scores


@dataclass(frozen=True)
class SegmentationEvaluateResult(DenseEvaluateResult):
    """Scores of a segmenter: mean intersection over union and accuracies in percent, and the loss."""

    def summary(self) -> str:
        """Return all scores in one line."""
        return named_scores(self.scores)

    def comparison_scores(self) -> tuple[str, ...]:
        """Return all scores."""
        return tuple(self.scores)

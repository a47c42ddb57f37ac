"""Scores of a detector."""

from __future__ import annotations

from dataclasses import dataclass

from msgformer.tasks.dense.scores import DenseEvaluateResult, format_score, title
from msgformer.utils.result import text_table


@dataclass(frozen=True)
class DetectionEvaluateResult(DenseEvaluateResult):
    """Scores of a detector: COCO's twelve metrics for boxes and, if predicted, for masks, in percent."""

    def summary(self) -> str:
        """Return one row for boxes and one for masks."""
        kinds = list(dict.fromkeys(name.partition("_")[0] for name in self.scores))
        measures = [name.partition("_")[2] for name in self.scores if name.startswith(kinds[0])]
        rows = [(kind, *(format_score(self.scores[f"{kind}_{measure}"]) for measure in measures)) for kind in kinds]
        return text_table(("", *map(title, measures)), rows)

    def comparison_scores(self) -> tuple[str, ...]:
        """Return the average precision over all IoU thresholds, at 0.5 and at 0.75."""
        return tuple(f"{kind}_{measure}" for kind in ("box", "mask") for measure in ("ap", "ap50", "ap75"))

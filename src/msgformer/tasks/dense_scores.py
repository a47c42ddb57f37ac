"""Scores of detectors and segmenters: a record, light enough to be imported at once."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgformer.data.checking import Skipped
from msgformer.result import text_table
from msgformer.tasks.evaluation import ScoresResult, skipped_lines

MAX_ROWS = 20
"""Classes that a table lists: of more, the weakest ones."""


@dataclass(frozen=True)
class DenseEvaluateResult(ScoresResult):
    """Scores of a detector or a segmenter on a set of images; in per cent but for the loss, None where none counts.

    Attributes:
        task: "detect" or "segment".
        checkpoint: Weights that were scored.
        data: Images they were scored on.
        images: Number of images.
        views: Scales at which a segmenter saw each image, and whether mirror images were averaged in.
        scores: COCO's twelve numbers for boxes, ``box_ap`` and so on, and for masks; or ``miou`` and accuracies.
        per_class: Scores of each class: ``box_ap`` and perhaps ``mask_ap``, or ``iou``.
        skipped: Images that can't be read and were left out.
    """

    task: str
    checkpoint: Path
    data: str
    images: int
    views: dict[str, Any]
    scores: dict[str, float | None]
    per_class: dict[str, dict[str, float | None]]
    skipped: list[Skipped] = field(default_factory=list)

    def metric(self, name: str) -> float | None:
        """Return one score by its name."""
        return self.scores[name]

    def comparison(self) -> dict[str, object]:
        """Return the row of a comparison, as CSV holds it."""
        return {"checkpoint": self.checkpoint, "data": self.data, "images": self.images, **self.scores, **self.views}

    def comparison_cells(self) -> dict[str, str]:
        """Return the row of a comparison, as a person reads it."""
        left_out = f" ({len(self.skipped)} left out)" if self.skipped else ""
        scores = {name: self.scores[name] for name in self.compared() if name in self.scores}
        return {
            "CHECKPOINT": str(self.checkpoint),
            **{title(name): shown_score(value, name) for name, value in scores.items()},
            "IMAGES": f"{self.images}{left_out}",
            "DATA": self.data,
        }

    def table(self) -> str:
        """Return numbers, classes, and what they are of."""
        names = list(next(iter(self.per_class.values())))
        ranked = sorted(self.per_class.items(), key=lambda item: _rank(item[1][names[0]]))
        few = len(ranked) <= MAX_ROWS
        rows = [
            (name, *(shown_score(scores[key]) for key in names))
            for name, scores in (self.per_class.items() if few else ranked[:MAX_ROWS])
        ]
        note = "" if few else f"\n(the weakest of {len(ranked)} classes; --output FOLDER writes them all)"
        return (
            f"{self.summary()}\n{self.images} images from {self.data}, by {self.checkpoint}"
            f"{skipped_lines(self.skipped)}\n\n"
            f"{text_table(('CLASS', *map(title, names)), rows)}{note}"
        )

    @abstractmethod
    def summary(self) -> str:
        """Return the scores over all classes."""

    @abstractmethod
    def compared(self) -> tuple[str, ...]:
        """Return the names of the scores that a comparison shows."""


def title(name: str) -> str:
    """Return a score's name as a table is headed."""
    return name.replace("_", " ").upper()


def shown_score(value: float | None, name: str = "") -> str:
    """Return a score as a table shows it: per cent, but the loss."""
    if value is None:
        return "-"
    return f"{value:.4f}" if name == "loss" else f"{value:.2f} %"


def _rank(value: float | None) -> float:
    return math.inf if value is None else value

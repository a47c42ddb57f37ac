"""Scores of detectors and segmenters. Imports no heavy library."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgformer.data.classification.skipped import Skipped
from msgformer.tasks.evaluation import MAX_ROWS, ScoresResult, format_image_count, skipped_lines, weakest_note
from msgformer.utils.result import text_table


@dataclass(frozen=True)
class DenseEvaluateResult(ScoresResult):
    """Scores of a detector or a segmenter on a set of images.

    All but the loss are in percent. None stands for an undefined score, such as that of a class without objects.

    Attributes:
        task: "detect" or "segment".
        checkpoint: The evaluated model.
        data: The images.
        images: Number of images.
        views: Test-time augmentation of a segmenter: scales, and whether mirror images were averaged in.
        scores: COCO's twelve metrics for boxes (``box_ap``, ...) and for masks, or ``miou`` and accuracies.
        per_class: Scores per class: ``box_ap`` and, with masks, ``mask_ap``; or ``iou``.
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
        """Return paths, scores and views by name."""
        return {"checkpoint": self.checkpoint, "data": self.data, "images": self.images, **self.scores, **self.views}

    def comparison_cells(self) -> dict[str, str]:
        """Return the most important scores by title."""
        scores = {name: self.scores[name] for name in self.comparison_scores() if name in self.scores}
        return {
            "CHECKPOINT": str(self.checkpoint),
            **{title(name): format_score(value, name) for name, value in scores.items()},
            "IMAGES": format_image_count(self.images, self.skipped),
            "DATA": self.data,
        }

    def table(self) -> str:
        """Return the scores, the names of the images and the model, and a table of classes."""
        names = list(next(iter(self.per_class.values())))
        ranked = sorted(self.per_class.items(), key=lambda item: _rank(item[1][names[0]]))
        few = len(ranked) <= MAX_ROWS
        rows = [
            (name, *(format_score(scores[key]) for key in names))
            for name, scores in (self.per_class.items() if few else ranked[:MAX_ROWS])
        ]
        note = "" if few else weakest_note(len(ranked))
        return (
            f"{self.summary()}\n{self.images} images from {self.data}, by {self.checkpoint}"
            f"{skipped_lines(self.skipped)}\n\n"
            f"{text_table(('CLASS', *map(title, names)), rows)}{note}"
        )

    @abstractmethod
    def summary(self) -> str:
        """Return the scores over all classes as text."""

    @abstractmethod
    def comparison_scores(self) -> tuple[str, ...]:
        """Return the names of the scores that a comparison shows."""


def title(name: str) -> str:
    """Return the column title of a score."""
    return name.replace("_", " ").upper()


def format_score(value: float | None, name: str = "") -> str:
    """Format a score, in percent except for the loss; None is a dash.

    Args:
        value: The score.
        name: Name of the score.
    """
    if value is None:
        return "-"
    return f"{value:.4f}" if name == "loss" else f"{value:.2f} %"


def named_scores(scores: Mapping[str, float | None]) -> str:
    """Return scores with their names in one line."""
    return ", ".join(f"{name.replace('_', ' ')} {format_score(value, name)}" for name, value in scores.items())


def _rank(value: float | None) -> float:
    return math.inf if value is None else value

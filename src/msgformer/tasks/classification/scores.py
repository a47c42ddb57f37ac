"""Scores of a classifier. Imports no heavy library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgformer.data.classification.skipped import Skipped
from msgformer.tasks.classification.score_records import ClassScore
from msgformer.tasks.evaluation import (
    MAX_ROWS,
    ScoresResult,
    format_image_count,
    percent,
    skipped_lines,
    weakest_note,
)
from msgformer.utils.result import text_table


@dataclass(frozen=True)
class EvaluateResult(ScoresResult):
    """Scores of a classifier on a set of images.

    Attributes:
        checkpoint: The evaluated model.
        data: The images.
        images: Number of images.
        skipped: Images that can't be read and were left out.
        classes: Number of classes.
        top1: Accuracy in percent.
        top5: Accuracy within the five most probable classes, in percent.
        loss: Mean cross-entropy.
        calibration_error: Expected calibration error of the top-1 class in percent, over 15 bins.
        preprocessing: How images were preprocessed.
        flip: Whether probabilities of mirror images were averaged in.
        per_class: Scores of each class, in the order of the model's outputs.
    """

    checkpoint: Path
    data: str
    images: int
    skipped: list[Skipped]
    classes: int
    top1: float
    top5: float
    loss: float
    calibration_error: float
    preprocessing: dict[str, Any]
    flip: bool
    per_class: list[ClassScore]

    @property
    def input(self) -> str:
        """Summary of the preprocessing."""
        settings = self.preprocessing
        _, height, width = settings["input_size"]
        flip = ", flipped too" if self.flip else ""
        return f"{height} x {width}, {settings['crop_mode']} {settings['crop_pct']:g}{flip}"

    def metric(self, name: str) -> float | None:
        """Return one score by its name."""
        score: float | None = getattr(self, name)
        return score

    def comparison(self) -> dict[str, object]:
        """Return paths, scores and test-time options by name."""
        names = ("checkpoint", "data", "images", "top1", "top5", "loss", "calibration_error", "flip")
        settings = {**self.preprocessing, "input_size": "x".join(map(str, self.preprocessing["input_size"]))}
        shown = {name: settings[name] for name in ("input_size", "crop_pct", "crop_mode", "interpolation")}
        return {**{name: getattr(self, name) for name in names}, **shown}

    def comparison_cells(self) -> dict[str, str]:
        """Return the most important scores by title."""
        return {
            "CHECKPOINT": str(self.checkpoint),
            "TOP-1": percent(self.top1),
            "TOP-5": percent(self.top5),
            "LOSS": f"{self.loss:.4f}",
            "CALIBRATION": percent(self.calibration_error),
            "IMAGES": format_image_count(self.images, self.skipped),
            "INPUT": self.input,
            "DATA": self.data,
        }

    def table(self) -> str:
        """Return the scores, the names of the images and the model, and a table of classes."""
        weakest = sorted(self.per_class, key=lambda score: (score.images == 0, score.f1 or 0.0))
        few = len(weakest) <= MAX_ROWS
        rows = [
            (score.name, score.images, *map(percent, (score.precision, score.recall, score.f1)))
            for score in (self.per_class if few else weakest[:MAX_ROWS])
        ]
        note = "" if few else weakest_note(self.classes)
        return (
            f"top-1 {self.top1:.2f} %, top-5 {self.top5:.2f} %, loss {self.loss:.4f},"
            f" calibration error {self.calibration_error:.2f} %\n"
            f"{self.images} images ({self.input}) in {self.classes} classes from {self.data}, by {self.checkpoint}"
            + skipped_lines(self.skipped)
            + f"\n\n{text_table(('CLASS', 'IMAGES', 'PRECISION', 'RECALL', 'F1'), rows)}{note}"
        )

"""What scores and predictions of detectors and segmenters say: records, light enough to be imported at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgformer.api.result import Result, text_table

MOST_ROWS = 20
"""Classes that a table lists: of more, the weakest ones."""


@dataclass(frozen=True)
class DenseEvaluateResult(Result):
    """Scores of a detector or a segmenter on a set of images; in per cent, but the loss, and None where none counts.

    Attributes:
        task: "detect" or "segment".
        checkpoint: The weights that were scored.
        data: What they were scored on.
        images: How many images that were.
        views: Sizes, in parts of that of evaluation, at which a segmenter looked at each image, and whether mirrored.
        scores: COCO's twelve numbers for boxes, ``box_ap`` and so on, and for masks; or ``miou`` and accuracies.
        per_class: Scores of each class: ``box_ap`` and perhaps ``mask_ap``, or ``iou``.
    """

    task: str
    checkpoint: Path
    data: str
    images: int
    views: dict[str, Any]
    scores: dict[str, float | None]
    per_class: dict[str, dict[str, float | None]]

    def table(self) -> str:
        """Numbers, classes, and what they are of."""
        names = list(next(iter(self.per_class.values())))
        ranked = sorted(self.per_class.items(), key=lambda item: _rank(item[1][names[0]]))
        few = len(ranked) <= MOST_ROWS
        rows = [
            (name, *(_shown(scores[key]) for key in names))
            for name, scores in (self.per_class.items() if few else ranked[:MOST_ROWS])
        ]
        note = "" if few else f"\n(the weakest of {len(ranked)} classes; --output FOLDER writes them all)"
        titles = [name.replace("_", " ").upper() for name in names]
        return (
            f"{self._numbers()}\n{self.images} images from {self.data}, by {self.checkpoint}\n\n"
            f"{text_table(('CLASS', *titles), rows)}{note}"
        )

    def _numbers(self) -> str:
        kinds = list(dict.fromkeys(name.partition("_")[0] for name in self.scores))
        if self.task == "segment":
            return ", ".join(f"{name.replace('_', ' ')} {_shown(value, name)}" for name, value in self.scores.items())
        measures = [name.partition("_")[2] for name in self.scores if name.startswith(kinds[0])]
        rows = [(kind, *(_shown(self.scores[f"{kind}_{measure}"]) for measure in measures)) for kind in kinds]
        return text_table(("", *(measure.replace("_", " ").upper() for measure in measures)), rows)


@dataclass(frozen=True)
class FoundObject:
    """An object that a detector found.

    Attributes:
        label: Its class.
        score: Probability, 0..1.
        box: ``x1 y1 x2 y2`` in pixels.
        mask: Its pixels in COCO's compressed RLE, where the detector finds masks.
    """

    label: str
    score: float
    box: list[float]
    mask: dict[str, Any] | None = None


@dataclass(frozen=True)
class DensePrediction:
    """What one image shows.

    Attributes:
        image: Its path.
        objects: What a detector found, best first; None for a segmenter.
        classes: Part of the image in per cent that each class takes up, of those that do; None for a detector.
        drawn: Where the picture lies with all this drawn on it, if it was asked for.
        class_map: Where a segmenter's class map lies, likewise: a palette PNG with a class, from 0 on, in each pixel.
    """

    image: str
    objects: list[FoundObject] | None = None
    classes: dict[str, float] | None = None
    drawn: Path | None = None
    class_map: Path | None = None

    def words(self) -> str:
        """The same in few words."""
        if self.objects is not None:
            shown = ", ".join(f"{one.label} {100 * one.score:.0f} %" for one in self.objects[:8])
            more = f" and {len(self.objects) - 8} more" if len(self.objects) > 8 else ""
            return f"{shown}{more}" or "nothing"
        largest = sorted((self.classes or {}).items(), key=lambda item: -item[1])[:8]
        return ", ".join(f"{name} {part:.1f} %" for name, part in largest)


@dataclass(frozen=True)
class DensePredictResult(Result):
    """What images show.

    Attributes:
        task: "detect" or "segment".
        checkpoint: The weights that were asked.
        predictions: One an image, in the order in which the images were given.
        output: Folder with the same as ``predictions.json``, and the pictures; None if none was asked for.
    """

    task: str
    checkpoint: Path
    predictions: list[DensePrediction] = field(default_factory=list)
    output: Path | None = None

    def table(self) -> str:
        """One row an image."""
        rows = [(one.image, one.words()) for one in self.predictions]
        told = "" if self.output is None else f"\n{self.output}: pictures, and all of it in predictions.json"
        return text_table(("", ""), rows) + told


def _rank(value: float | None) -> float:
    return math.inf if value is None else value


def _shown(value: float | None, name: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if name == "loss" else f"{value:.2f} %"

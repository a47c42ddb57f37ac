"""The record of a detector's prediction, and how files hold it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from msgformer.tasks.prediction.base import PredictionRecord
from msgformer.tasks.prediction.record_layout import RecordLayout

MAX_LISTED = 8
"""Largest number of objects in a summary."""

SCORE_TOLERANCE = 1e-2
"""Largest difference of a score to a repeated computation, which may run on another device."""


@dataclass(frozen=True)
class FoundObject:
    """An object that a detector found.

    Attributes:
        label: Its class.
        score: Probability, 0..1.
        box: ``x1 y1 x2 y2`` in pixels.
        mask: Its pixels in COCO's compressed RLE, if the detector predicts masks.
    """

    label: str
    score: float
    box: list[float]
    mask: dict[str, Any] | None = None


@dataclass(frozen=True)
class DetectionPrediction(PredictionRecord):
    """The objects in one image.

    Attributes:
        image: Name of the image.
        objects: The detected objects, the highest score first.
        drawn: File of the image with the objects drawn on it, if it was written.
        error: Why the image can't be read; None if it can.
    """

    image: str
    objects: list[FoundObject] = field(default_factory=list)
    drawn: Path | None = None
    error: str | None = None

    def summary(self) -> str:
        """Return the objects with the highest scores as text."""
        shown = ", ".join(f"{one.label} {100 * one.score:.0f} %" for one in self.objects[:MAX_LISTED])
        more = f" and {len(self.objects) - MAX_LISTED} more" if len(self.objects) > MAX_LISTED else ""
        return f"{shown}{more}" or "nothing"

    def is_close(self, other: Any) -> bool:
        """Return whether both have the same number of objects, of equal classes and scores."""
        ours, theirs = (sorted((one.label, one.score) for one in record.objects) for record in (self, other))
        return len(ours) == len(theirs) and all(
            label == other_label and abs(score - other_score) <= SCORE_TOLERANCE
            for (label, score), (other_label, other_score) in zip(ours, theirs, strict=True)
        )


class DetectionLayout(RecordLayout[DetectionPrediction]):
    """One row per object, or one row for an image without objects.

    ``objects`` is the number of objects in the image and ``object`` the row's number, so that missing rows are noticed.
    """

    columns = ("image", "objects", "object", "label", "score", "x1", "y1", "x2", "y2", "mask", "error")

    def to_json(self, record: DetectionPrediction) -> dict[str, Any]:
        """Return ``image`` and either ``objects`` or ``error``."""
        if record.error is not None:
            return {"image": record.image, "error": record.error}
        drawn = {} if record.drawn is None else {"drawn": str(record.drawn)}
        return {"image": record.image, "objects": [asdict(one) for one in record.objects], **drawn}

    def from_json(self, values: dict[str, Any]) -> DetectionPrediction:
        """Return the record of a line."""
        drawn = values.get("drawn")
        objects = [FoundObject(**one) for one in values.get("objects") or []]
        path = None if drawn is None else Path(drawn)
        return DetectionPrediction(values["image"], objects, path, values.get("error"))

    def to_rows(self, record: DetectionPrediction) -> list[list[str]]:
        """Return one row per object, or one row if there are none."""
        if not record.objects:
            return [[record.image, "0", *[""] * 8, record.error or ""]]
        count = str(len(record.objects))
        return [
            [record.image, count, str(number), one.label, f"{one.score:.7g}", *_box_cells(one), _mask_cell(one), ""]
            for number, one in enumerate(record.objects, 1)
        ]

    def from_rows(self, rows: Sequence[Sequence[str]]) -> DetectionPrediction:
        """Return the record of its rows."""
        if any(len(row) != len(self.columns) for row in rows):
            raise ValueError("the columns are different")
        image, error = rows[0][0], rows[0][-1] or None
        objects = [
            FoundObject(
                row[3], float(row[4]), [float(side) for side in row[5:9]], json.loads(row[9]) if row[9] else None
            )
            for row in rows
            if row[1] != "0"
        ]
        return DetectionPrediction(image, objects, None, error)

    def num_rows(self, first: Sequence[str]) -> int:
        """Return the number of objects, at least 1."""
        return max(1, int(first[1]))

    def schema(self) -> Any:
        """Return a column with a list of objects."""
        import pyarrow as pa

        mask = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
        one = pa.struct(
            [("label", pa.string()), ("score", pa.float32()), ("box", pa.list_(pa.float32())), ("mask", mask)]
        )
        columns = [pa.field("image", pa.string(), nullable=False), ("objects", pa.list_(one))]
        return pa.schema([*columns, ("error", pa.string())])

    def to_parquet(self, record: DetectionPrediction) -> dict[str, Any]:
        """Return the row of an image."""
        objects = [asdict(one) for one in record.objects]
        return {"image": record.image, "objects": objects, "error": record.error}

    def from_parquet(self, row: dict[str, Any]) -> DetectionPrediction:
        """Return the record of a row."""
        objects = [FoundObject(**one) for one in row["objects"] or []]
        return DetectionPrediction(row["image"], objects, None, row["error"])


def _box_cells(one: FoundObject) -> list[str]:
    return [f"{side:.7g}" for side in one.box]


def _mask_cell(one: FoundObject) -> str:
    return "" if one.mask is None else json.dumps(one.mask)

"""The record of a segmenter's prediction, and how files hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgformer.tasks.prediction.base import PredictionRecord
from msgformer.tasks.prediction.record_layout import RecordLayout

MAX_LISTED = 8
"""Largest number of classes in a summary."""

TOLERANCE = 1.0
"""Largest difference of an area, in percent, to a repeated computation, which may run on another device."""


@dataclass(frozen=True)
class SegmentationPrediction(PredictionRecord):
    """The classes in one image.

    Attributes:
        image: Name of the image.
        classes: Area of each class that occurs, in percent of the image.
        drawn: File of the image with the classes drawn on it, if it was written.
        class_map: File of the class map, if it was written: a palette PNG with the class of each pixel, from 0.
        error: Why the image can't be read; None if it can.
    """

    image: str
    classes: dict[str, float] = field(default_factory=dict)
    drawn: Path | None = None
    class_map: Path | None = None
    error: str | None = None

    def summary(self) -> str:
        """Return the classes with the largest areas as text."""
        largest = sorted(self.classes.items(), key=lambda item: -item[1])[:MAX_LISTED]
        return ", ".join(f"{name} {area:.1f} %" for name, area in largest)

    def is_close(self, other: Any) -> bool:
        """Return whether the areas agree."""
        names = self.classes.keys() | other.classes.keys()
        return all(abs(self.classes.get(name, 0) - other.classes.get(name, 0)) <= TOLERANCE for name in names)


class SegmentationLayout(RecordLayout[SegmentationPrediction]):
    """One row per image: the area of each class in percent.

    Args:
        class_names: Names of all classes, which are the columns.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self.columns = ["image", *self.class_names, "error"]

    def to_json(self, record: SegmentationPrediction) -> dict[str, Any]:
        """Return ``image`` and either ``classes`` or ``error``."""
        if record.error is not None:
            return {"image": record.image, "error": record.error}
        paths = {"drawn": record.drawn, "class_map": record.class_map}
        written = {name: str(path) for name, path in paths.items() if path is not None}
        return {"image": record.image, "classes": record.classes, **written}

    def from_json(self, values: dict[str, Any]) -> SegmentationPrediction:
        """Return the record of a line."""
        paths = {name: Path(values[name]) for name in ("drawn", "class_map") if values.get(name)}
        return SegmentationPrediction(
            values["image"], dict(values.get("classes") or {}), error=values.get("error"), **paths
        )

    def to_rows(self, record: SegmentationPrediction) -> list[list[str]]:
        """Return the row of an image."""
        if record.error is not None:
            return [[record.image, *[""] * len(self.class_names), record.error]]
        areas = [f"{record.classes.get(name, 0.0):.7g}" for name in self.class_names]
        return [[record.image, *areas, ""]]

    def from_rows(self, rows: Sequence[Sequence[str]]) -> SegmentationPrediction:
        """Return the record of a row."""
        image, *areas, error = rows[0]
        if len(areas) != len(self.class_names):
            raise ValueError("the columns are different")
        if error:
            return SegmentationPrediction(image, error=error)
        pairs = zip(self.class_names, map(float, areas), strict=True)
        return SegmentationPrediction(image, {name: area for name, area in pairs if area})

    def schema(self) -> Any:
        """Return a column with a map from classes to areas."""
        import pyarrow as pa

        columns = [pa.field("image", pa.string(), nullable=False), ("classes", pa.map_(pa.string(), pa.float64()))]
        return pa.schema([*columns, ("error", pa.string())])

    def to_parquet(self, record: SegmentationPrediction) -> dict[str, Any]:
        """Return the row of an image."""
        return {"image": record.image, "classes": list(record.classes.items()), "error": record.error}

    def from_parquet(self, row: dict[str, Any]) -> SegmentationPrediction:
        """Return the record of a row."""
        return SegmentationPrediction(row["image"], dict(row["classes"] or []), error=row["error"])

"""The record of a classifier's prediction, and how files hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgformer.tasks.prediction.base import PredictionRecord
from msgformer.tasks.prediction.record_layout import RecordLayout

TOLERANCE = 1e-2
"""Largest difference of a probability to a repeated computation, which may run on another device."""


@dataclass(frozen=True)
class Prediction(PredictionRecord):
    """The most probable classes of one image.

    Attributes:
        image: Name of the image.
        classes: Class names, the most probable first.
        probabilities: Probability of each class, 0..1.
        error: Why the image can't be read; None if it can, and then there are classes.
    """

    image: str
    classes: list[str]
    probabilities: list[float]
    error: str | None = None

    def summary(self) -> str:
        """Return the classes and their probabilities as text."""
        return ", ".join(self.cells())

    def title(self) -> str:
        """Return the most probable class."""
        return self.cells()[0]

    def cells(self) -> Sequence[str]:
        """Return one cell per class."""
        return [f"{name} {100 * p:.1f} %" for name, p in zip(self.classes, self.probabilities, strict=True)]

    def is_close(self, other: Any) -> bool:
        """Return whether the probabilities of the classes agree."""
        ours, theirs = (dict(zip(one.classes, one.probabilities, strict=True)) for one in (self, other))
        # Classes of almost equal probability may be in another order, or replaced by a class beyond the last rank.
        lowest = theirs[other.classes[-1]]
        difference = max(abs(ours.get(name, lowest) - value) for name, value in theirs.items())
        return len(ours) == len(theirs) and difference <= TOLERANCE


class ClassificationLayout(RecordLayout[Prediction]):
    """One row per image: its classes and their probabilities, the most probable first.

    Args:
        ranks: Number of classes per image.
    """

    columns_hint = "--top_k"

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        named = [name for rank in range(1, ranks + 1) for name in (f"class_{rank}", f"probability_{rank}")]
        self.columns = ["image", *named, "error"]

    def to_json(self, record: Prediction) -> dict[str, Any]:
        """Return ``image`` and either ``classes`` and ``probabilities`` or ``error``."""
        if record.error is not None:
            return {"image": record.image, "error": record.error}
        rounded = [float(f"{value:.7g}") for value in record.probabilities]
        return {"image": record.image, "classes": record.classes, "probabilities": rounded}

    def from_json(self, values: dict[str, Any]) -> Prediction:
        """Return the record of a line."""
        classes, probabilities = values.get("classes", []), values.get("probabilities", [])
        if not isinstance(classes, list) or len(classes) != len(probabilities):
            raise ValueError("no classes with their probabilities")
        error = values.get("error")
        if error is None and not classes:
            raise ValueError("neither classes nor an error")
        return Prediction(values["image"], classes, list(map(float, probabilities)), error)

    def to_rows(self, record: Prediction) -> list[list[str]]:
        """Return the row of an image."""
        pairs = zip(record.classes, record.probabilities, strict=True)
        cells = [cell for name, value in pairs for cell in (name, f"{value:.7g}")]
        return [[record.image, *(cells or [""] * 2 * self.ranks), record.error or ""]]

    def from_rows(self, rows: Sequence[Sequence[str]]) -> Prediction:
        """Return the record of a row."""
        (image, *cells, error) = rows[0]
        if len(cells) != 2 * self.ranks:
            raise ValueError("the columns are different")
        if error:
            return Prediction(image, [], [], error)
        return Prediction(image, cells[::2], [float(cell) for cell in cells[1::2]])

    def schema(self) -> Any:
        """Return columns for lists of classes and probabilities."""
        import pyarrow as pa

        columns = [pa.field("image", pa.string(), nullable=False), ("classes", pa.list_(pa.string()))]
        return pa.schema([*columns, ("probabilities", pa.list_(pa.float32())), ("error", pa.string())])

    def to_parquet(self, record: Prediction) -> dict[str, Any]:
        """Return the row of an image."""
        return dict(vars(record))

    def from_parquet(self, row: dict[str, Any]) -> Prediction:
        """Return the record of a row."""
        return Prediction(**row)

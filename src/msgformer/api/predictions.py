"""One answer an image: the record, and how lines of a file hold it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol

Format = Literal["jsonl", "csv", "parquet"]


@dataclass(frozen=True)
class Prediction:
    """What one image shows.

    Attributes:
        image: Its path.
        classes: Class names, the likeliest first.
        probabilities: Of each, 0..1.
        error: Why the image can't be read; None if it can, and then there are classes.
    """

    image: str
    classes: list[str]
    probabilities: list[float]
    error: str | None = None


def printable(name: str) -> str:
    """A file's name as UTF-8 can hold it: a byte that is no text becomes an escape."""
    return name.encode("utf-8", errors="backslashreplace").decode("utf-8")


class LineFormat(Protocol):
    """How predictions are written, one record after the other, so that any number of whole records is a whole file."""

    def header(self) -> str:
        """What stands before the first record."""

    def encode(self, prediction: Prediction) -> str:
        """A record, with the newline that ends it."""

    def decode(self, record: str) -> Prediction:
        """The prediction in a record; raises ValueError if there is none."""

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """The whole records of a file, the header among them; what follows the last whole one is left out."""


class JsonLines:
    """A JSON object a line, with ``image`` and either ``classes`` and ``probabilities`` or ``error``."""

    def header(self) -> str:
        """Nothing."""
        return ""

    def encode(self, prediction: Prediction) -> str:
        """The object in a line."""
        if prediction.error is not None:
            values = {"image": prediction.image, "error": prediction.error}
        else:
            rounded = [float(f"{value:.7g}") for value in prediction.probabilities]
            values = {"image": prediction.image, "classes": prediction.classes, "probabilities": rounded}  # type: ignore[dict-item]
        return f"{json.dumps(values, ensure_ascii=False)}\n"

    def decode(self, record: str) -> Prediction:
        """The object in a line."""
        values = json.loads(record)
        if not isinstance(values, dict) or not isinstance(values.get("image"), str):
            raise ValueError("no prediction")
        return Prediction(
            values["image"], values.get("classes", []), values.get("probabilities", []), values.get("error")
        )

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """The whole lines."""
        return (line for line in file if line.endswith(b"\n"))


class Csv:
    """A table with the columns image, class_1, probability_1, class_2, ..., error.

    Args:
        ranks: Classes that are named for each image.
    """

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks

    def header(self) -> str:
        """The names of the columns."""
        numbers = range(1, self.ranks + 1)
        named = [name for rank in numbers for name in (f"class_{rank}", f"probability_{rank}")]
        return _csv_line(["image", *named, "error"])

    def encode(self, prediction: Prediction) -> str:
        """A row; a cell may hold newlines."""
        pairs = zip(prediction.classes, prediction.probabilities, strict=True)
        cells = [cell for name, chance in pairs for cell in (name, f"{chance:.7g}")]
        return _csv_line([prediction.image, *(cells or [""] * 2 * self.ranks), prediction.error or ""])

    def decode(self, record: str) -> Prediction:
        """The row of a record."""
        image, *cells, error = next(csv.reader(io.StringIO(record, newline="")))
        if len(cells) != 2 * self.ranks:
            raise ValueError("the columns are others")
        if error:
            return Prediction(image, [], [], error)
        return Prediction(image, cells[::2], [float(cell) for cell in cells[1::2]])

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """The whole rows: within a row, quotes come in pairs."""
        record = b""
        for line in file:
            record += line
            if record.endswith(b"\n") and record.count(b'"') % 2 == 0:
                yield record
                record = b""


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()

"""Layout of a task's prediction records in JSON lines, CSV and Parquet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeVar

from msgformer.tasks.prediction.base import PredictionRecord

Format = Literal["jsonl", "csv", "parquet"]

Record = TypeVar("Record", bound=PredictionRecord)


class RecordLayout(ABC, Generic[Record]):
    """Converts records to the rows of files and back.

    Attributes:
        columns: Names of the columns of a CSV file.
        columns_hint: Option that determines the columns, for messages.
    """

    columns: Sequence[str]
    columns_hint: str = "options"

    @abstractmethod
    def to_json(self, record: Record) -> dict[str, Any]:
        """Return the JSON object of a record."""

    @abstractmethod
    def from_json(self, values: dict[str, Any]) -> Record:
        """Return the record of a JSON object; raises KeyError, TypeError or ValueError for other objects."""

    @abstractmethod
    def to_rows(self, record: Record) -> list[list[str]]:
        """Return the rows of a record in a CSV file, one or more."""

    @abstractmethod
    def from_rows(self, rows: Sequence[Sequence[str]]) -> Record:
        """Return the record of its rows; raises ValueError for other rows."""

    def num_rows(self, first: Sequence[str]) -> int:  # noqa: ARG002
        """Return the number of rows of the record with the first row ``first``; raises ValueError for other rows."""
        return 1

    @abstractmethod
    def schema(self) -> Any:
        """Return the schema of a Parquet file."""

    @abstractmethod
    def to_parquet(self, record: Record) -> dict[str, Any]:
        """Return the row of a record in a Parquet file, with maps as lists of pairs."""

    @abstractmethod
    def from_parquet(self, row: dict[str, Any]) -> Record:
        """Return the record of a row; raises KeyError or TypeError for other rows."""


def printable(name: str) -> str:
    """Return a file name as valid UTF-8, with escapes for undecodable bytes."""
    return name.encode("utf-8", errors="backslashreplace").decode("utf-8")


def make_printable(value: Any) -> Any:
    """Apply `printable` to all strings in nested plain values; class names too may be names of folders."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): make_printable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(make_printable(one) for one in value)
    return value

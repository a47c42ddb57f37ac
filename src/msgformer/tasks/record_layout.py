"""How prediction records are laid out in JSON lines, CSV and Parquet: the part that depends on the task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeVar

from msgformer.tasks.prediction import PredictionRecord

Format = Literal["jsonl", "csv", "parquet"]

Record = TypeVar("Record", bound=PredictionRecord)


class RecordLayout(ABC, Generic[Record]):
    """From records to the rows of files and back.

    Attributes:
        columns: Names of the columns of a CSV file.
        columns_hint: Option that decides about the columns, for messages.
    """

    columns: Sequence[str]
    columns_hint: str = "options"

    @abstractmethod
    def to_json(self, record: Record) -> dict[str, Any]:
        """Return the object of a line."""

    @abstractmethod
    def from_json(self, values: dict[str, Any]) -> Record:
        """Return the record of a line; raises KeyError, TypeError or ValueError if there is none."""

    @abstractmethod
    def to_rows(self, record: Record) -> list[list[str]]:
        """Return the rows of a CSV file that hold a record, one or more."""

    @abstractmethod
    def from_rows(self, rows: Sequence[Sequence[str]]) -> Record:
        """Return the record of its rows; raises ValueError if there is none."""

    def num_rows(self, first: Sequence[str]) -> int:  # noqa: ARG002
        """Return how many rows a record has whose first row is ``first``; raises ValueError if it is none."""
        return 1

    @abstractmethod
    def schema(self) -> Any:
        """Return the schema of a Parquet file."""

    @abstractmethod
    def to_parquet(self, record: Record) -> dict[str, Any]:
        """Return the row of a Parquet file; a map is a list of pairs."""

    @abstractmethod
    def from_parquet(self, row: dict[str, Any]) -> Record:
        """Return the record of a row; raises KeyError or TypeError if there is none."""


def printable(name: str) -> str:
    """Return a file's name as UTF-8 can hold it: a byte that is no text becomes an escape."""
    return name.encode("utf-8", errors="backslashreplace").decode("utf-8")


def make_printable(value: Any) -> Any:
    """Return nested plain values with all strings as UTF-8 can hold them: classes are folders' names, too."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): make_printable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(make_printable(one) for one in value)
    return value

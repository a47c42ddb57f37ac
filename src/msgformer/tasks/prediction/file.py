"""Resumable files of predictions, written batch by batch."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from msgformer.errors import UserError
from msgformer.tasks.prediction.base import PredictionRecord
from msgformer.tasks.prediction.record_layout import Format, RecordLayout, make_printable
from msgformer.utils.output_path import check_output_file
from msgformer.utils.packages import require_package

PREDICTIONS = "predictions.json"
"""File with all predictions in a folder of drawn images."""

STDOUT = Path("-")
SUFFIXES: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
ROW_GROUP = 65_536
"""Number of predictions per row group of a Parquet file, which is held in memory."""


def choose_format(output: Path, given: Format | None) -> Format:
    """Return the given format, or that of the output's name.

    Args:
        output: The file; "-" for standard output.
        given: The user's format; None for that of the name.

    Raises:
        UserError: The name has no known ending, or the format can't be written to standard output.
    """
    chosen = given or ("jsonl" if output == STDOUT else SUFFIXES.get(output.suffix.lower()))
    if chosen is None:
        raise UserError(f"output: {output} doesn't end with {', '.join(SUFFIXES)}; give --format jsonl, csv or parquet")
    if chosen == "parquet":
        if output == STDOUT:
            raise UserError("format: parquet can't be written to standard output; give --output FILE.parquet")
        require_package("pyarrow", "parquet", "format parquet")
    return chosen


def is_folder(output: Path, given: Format | None) -> bool:
    """Return whether an output is a folder for drawn images and ``predictions.json``: its name has no ending.

    Args:
        output: The user's output.
        given: The user's format; None for that of the name.
    """
    return given is None and output != STDOUT and (output.is_dir() or not output.suffix[1:2].isalpha())


def check_output(output: Path, format: Format, *, skip_completed: bool, overwrite: bool) -> None:
    """Check that a file of predictions can be written.

    Args:
        output: The file; "-" for standard output.
        format: Its format.
        skip_completed: Whether the file is to be continued.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UserError: The file exists, its folder doesn't, or standard output is to be continued.
    """
    if output == STDOUT:
        if skip_completed:
            raise UserError("skip_completed: cannot continue standard output; pass --output FILE")
        return
    check_output_file(output, overwrite=True)
    existing = next((path for path in (output, journal_path(output, format)) if path.exists()), None)
    if existing is not None and not (skip_completed or overwrite):
        raise UserError(
            f"output: {existing} exists; pass --overwrite or another --output, or --skip_completed to continue it"
        )


def journal_path(output: Path, format: Format | None) -> Path:
    """Return the file that predictions are appended to.

    Parquet files and JSON arrays can't be appended to; they are converted at the end from a journal in JSON lines.

    Args:
        output: The file.
        format: Its format; None for a JSON array.
    """
    return output if format in ("jsonl", "csv") else output.with_name(f"{output.name}.partial.jsonl")


class LineFormat(Protocol):
    """A format to which records can be appended, so that any number of complete records is a valid file."""

    def header(self) -> str:
        """Return the text before the first record."""

    def encode(self, record: PredictionRecord) -> str:
        """Return a record as text with a final newline."""

    def decode(self, text: str) -> PredictionRecord:
        """Return the record of a text; raises ValueError if it is no record."""

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the complete records of a file, with the header; an incomplete last record is left out."""


class JsonLines:
    """One JSON object per line.

    Args:
        layout: Converts records to objects.
    """

    def __init__(self, layout: RecordLayout[PredictionRecord]) -> None:
        self.layout = layout

    def header(self) -> str:
        """Return an empty text."""
        return ""

    def encode(self, record: PredictionRecord) -> str:
        """Return the object of a record as a line."""
        return f"{json.dumps(self.layout.to_json(record), ensure_ascii=False)}\n"

    def decode(self, text: str) -> PredictionRecord:
        """Return the record of a line."""
        values = json.loads(text)
        if not isinstance(values, dict) or not isinstance(values.get("image"), str):
            raise ValueError("no prediction")
        return self.layout.from_json(values)

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the complete lines."""
        return (line for line in file if line.endswith(b"\n"))


class Csv:
    """A table of one or more rows per record.

    Args:
        layout: Converts records to rows.
    """

    def __init__(self, layout: RecordLayout[PredictionRecord]) -> None:
        self.layout = layout

    def header(self) -> str:
        """Return the names of the columns."""
        return _csv_text([self.layout.columns])

    def encode(self, record: PredictionRecord) -> str:
        """Return the rows of a record; a cell may contain newlines."""
        return _csv_text(self.layout.to_rows(record))

    def decode(self, text: str) -> PredictionRecord:
        """Return the record of its rows."""
        return self.layout.from_rows(list(csv.reader(io.StringIO(text, newline=""))))

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the complete records, with the header first."""
        rows = _csv_rows(file)
        for number, row in enumerate(rows):
            try:
                num_following = self._num_rows(row) - 1 if number else 0
            except (ValueError, IndexError):
                num_following = 0  # not a record of this layout; decoding it will raise
            following = list(islice(rows, num_following))
            if len(following) == num_following:
                yield b"".join([row, *following])

    def _num_rows(self, row: bytes) -> int:
        text = row.decode("utf-8", errors="surrogateescape")
        return self.layout.num_rows(next(csv.reader(io.StringIO(text, newline=""))))


def _csv_rows(file: BinaryIO) -> Iterator[bytes]:
    """Yield complete rows; a row is complete if its quotes are paired."""
    row = b""
    for line in file:
        row += line
        if row.endswith(b"\n") and row.count(b'"') % 2 == 0:
            yield row
            row = b""


def _csv_text(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


class PredictionFile:
    """A file of predictions that a later call can resume, even if the last record is incomplete.

    Args:
        output: The file; "-" for standard output.
        format: Its format; None for a JSON array.
        layout: Converts records to rows.
    """

    def __init__(self, output: Path, format: Format | None, layout: RecordLayout[Any]) -> None:
        self.output, self.format, self.layout = output, format, layout
        self.path = journal_path(output, format)
        self.lines: LineFormat = Csv(layout) if format == "csv" else JsonLines(layout)
        self._end = 0
        self._file: BinaryIO | None = None

    @property
    def complete(self) -> bool:
        """Whether the file is finished, so that nothing can be appended."""
        return self.path != self.output and self.output.exists()

    def recorded(self) -> Iterator[PredictionRecord]:
        """Return the complete predictions of an earlier call, in order.

        Raises:
            UserError: The file holds something else.
        """
        if self.complete:
            yield from self._read_parquet() if self.format == "parquet" else self._read_array()
        elif self.path.exists():
            with self.path.open("rb") as file:
                for number, record in enumerate(self.lines.records(file)):
                    if number > 0 or not self.lines.header():
                        yield self._decode(record, number)
                    elif record != self._encode(self.lines.header()):
                        hint = self.layout.columns_hint
                        raise UserError(
                            f"skip_completed: {self.path} has different columns; give the same {hint} as before"
                        )
                    self._end += len(record)

    def _decode(self, record: bytes, number: int) -> PredictionRecord:
        try:
            return self.lines.decode(record.decode("utf-8", errors="surrogateescape"))
        except (AttributeError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"skip_completed: record {number + 1} of {self.path} is no prediction; give another file"
            ) from error

    def _encode(self, text: str) -> bytes:
        # CSV keeps an undecodable byte of a file's name as it is; JSON escapes it.
        return text.encode("utf-8", errors="surrogateescape" if self.format == "csv" else "backslashreplace")

    def write(self, records: Sequence[PredictionRecord]) -> None:
        """Append predictions; the first call truncates the file after the last record that `recorded` has returned."""
        if self._file is None:
            self._file = self._open()
        text = "" if self._end else self.lines.header()
        content = self._encode(text + "".join(map(self.lines.encode, records)))
        self._file.write(content)
        self._file.flush()
        self._end += len(content)

    def _open(self) -> BinaryIO:
        if self.output == STDOUT:
            assert sys.__stdout__ is not None
            return cast(BinaryIO, sys.__stdout__.buffer)  # sys.stdout is standard error while a command runs
        file = self.path.open("r+b" if self.path.exists() else "w+b")
        file.truncate(self._end)
        file.seek(self._end)
        return file

    def close(self) -> None:
        """Close the file."""
        if self._file is not None and self.output != STDOUT:
            self._file.close()
        self._file = None

    def finish(self) -> None:
        """Convert the complete file to its final format; without predictions an empty file is created."""
        if self.complete:
            return
        self.write([])
        self.close()
        if self.path == self.output:
            return
        partial = self.output.with_name(f".{self.output.name}.{os.getpid()}")
        try:
            with self.path.open("rb") as file:
                records = (self._decode(record, number) for number, record in enumerate(self.lines.records(file)))
                write = self._write_parquet if self.format == "parquet" else self._write_array
                write(records, partial)
            partial.replace(self.output)
            self.path.unlink()
        finally:
            partial.unlink(missing_ok=True)

    def _write_parquet(self, records: Iterator[PredictionRecord], path: Path) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        schema = self.layout.schema()
        with ParquetWriter(path, schema) as writer:
            while group := list(islice(records, ROW_GROUP)):
                rows = [make_printable(self.layout.to_parquet(one)) for one in group]
                writer.write_table(pa.Table.from_pylist(rows, schema))

    def _write_array(self, records: Iterator[PredictionRecord], path: Path) -> None:
        with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
            separator = "[\n"
            for record in records:
                file.write(separator + json.dumps(self.layout.to_json(record), indent=2, ensure_ascii=False))
                separator = ",\n"
            file.write("\n]\n" if separator != "[\n" else "[]\n")

    def _read_array(self) -> Iterator[PredictionRecord]:
        try:
            yield from map(self.layout.from_json, json.loads(self.output.read_text(encoding="utf-8")))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"skip_completed: {self.output} isn't a file of predictions; give another folder"
            ) from error

    def _read_parquet(self) -> Iterator[PredictionRecord]:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        try:
            with ParquetFile(self.output) as file:
                for batch in file.iter_batches():
                    yield from map(self.layout.from_parquet, batch.to_pylist())
        except (ArrowException, KeyError, TypeError) as error:
            raise UserError(f"skip_completed: {self.output} isn't a file of predictions; give another file") from error

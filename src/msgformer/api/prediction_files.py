"""Files that predictions are written to as they come, and that a later call goes on with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from msgformer.api.predictions import Csv, Format, JsonLines, LineFormat, Prediction, printable
from msgformer.errors import UserError
from msgformer.packages import require_package

STDOUT = Path("-")
SUFFIXES: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
ROW_GROUP = 65_536
"""Predictions that are in memory at once while a Parquet file is written."""


def choose_format(output: Path, given: Format | None) -> Format:
    """The format of an output, by its name unless it is given.

    Raises:
        UserError: the name tells none, or the format can't be written there.
    """
    chosen = given or ("jsonl" if output == STDOUT else SUFFIXES.get(output.suffix.lower()))
    if chosen is None:
        raise UserError(f"output: {output} doesn't end with {', '.join(SUFFIXES)}; give --format jsonl, csv or parquet")
    if chosen == "parquet":
        if output == STDOUT:
            raise UserError("format: parquet can't be written to standard output; give --output FILE.parquet")
        require_package("pyarrow", "parquet", "format parquet")
    return chosen


def check_output(output: Path, format: Format, *, resume: bool) -> None:
    """Make sure that nothing is overwritten.

    Raises:
        UserError: the file is there already, or its folder isn't there, or standard output is to be resumed.
    """
    if output == STDOUT:
        if resume:
            raise UserError("resume: standard output can't be gone on with; give --output FILE")
        return
    if output.is_dir():
        raise UserError(f"output: {output} is a folder; give a file in it")
    if not output.parent.is_dir():
        raise UserError(f"output: there is no folder {output.parent}; make it first")
    there = next((path for path in (output, journal_path(output, format)) if path.exists()), None)
    if there is not None and not resume:
        raise UserError(f"output: {there} exists; --resume goes on with it, or give another file")


def journal_path(output: Path, format: Format) -> Path:
    """Where predictions are written as they come: Parquet can't be added to, so it is made at the end."""
    return output.with_name(f"{output.name}.partial.jsonl") if format == "parquet" else output


class PredictionFile:
    """A file of predictions that grows, of which any beginning is of use.

    Args:
        output: The file; "-" for standard output.
        format: How it is written.
        ranks: Classes that are named for each image.
    """

    def __init__(self, output: Path, format: Format, ranks: int) -> None:
        self.output, self.format = output, format
        self.path = journal_path(output, format)
        self.lines: LineFormat = Csv(ranks) if format == "csv" else JsonLines()
        self._end = 0
        self._file: BinaryIO | None = None

    @property
    def complete(self) -> bool:
        """Whether there is a Parquet file, to which nothing can be added."""
        return self.format == "parquet" and self.output.exists()

    def recorded(self) -> Iterator[Prediction]:
        """The whole predictions that an earlier call has written, in order.

        Raises:
            UserError: there is something else in the file.
        """
        if self.complete:
            yield from _read_parquet(self.output)
        elif self.path.exists():
            with self.path.open("rb") as file:
                for number, record in enumerate(self.lines.records(file)):
                    if number > 0 or not self.lines.header():
                        yield self._decode(record, number)
                    elif record != self._encode(self.lines.header()):
                        raise UserError(f"resume: {self.path} has other columns; give the --top_k of its beginning")
                    self._end += len(record)

    def _decode(self, record: bytes, number: int) -> Prediction:
        try:
            return self.lines.decode(record.decode("utf-8", errors="surrogateescape"))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"resume: record {number + 1} of {self.path} is no prediction; give another file"
            ) from error

    def _encode(self, text: str) -> bytes:
        # An undecodable byte of a file's name stays what it is in CSV; JSON has an escape for it.
        return text.encode("utf-8", errors="surrogateescape" if self.format == "csv" else "backslashreplace")

    def write(self, predictions: Sequence[Prediction]) -> None:
        """Add predictions; those that :meth:`recorded` gave stay, and what follows them is cut off first."""
        if self._file is None:
            self._file = self._open()
        text = "" if self._end else self.lines.header()
        content = self._encode(text + "".join(map(self.lines.encode, predictions)))
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
        """End a file to which nothing more will be added in this call."""
        if self._file is not None and self.output != STDOUT:
            self._file.close()
        self._file = None

    def finish(self) -> None:
        """End a file that holds everything: it is there even if that is nothing, and made to Parquet if need be."""
        if not self.complete:
            self.write([])
            self.close()
            if self.format == "parquet":
                self._to_parquet()

    def _to_parquet(self) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        columns = [pa.field("image", pa.string(), nullable=False), ("classes", pa.list_(pa.string()))]
        schema = pa.schema([*columns, ("probabilities", pa.list_(pa.float32())), ("error", pa.string())])
        partial = self.output.with_name(f".{self.output.name}.{os.getpid()}")
        try:
            with self.path.open("rb") as file, ParquetWriter(partial, schema) as writer:
                records = enumerate(self.lines.records(file))
                while group := [self._decode(record, number) for number, record in islice(records, ROW_GROUP)]:
                    rows = [{**vars(one), "image": printable(one.image)} for one in group]
                    writer.write_table(pa.Table.from_pylist(rows, schema))
            partial.replace(self.output)
            self.path.unlink()
        finally:
            partial.unlink(missing_ok=True)


def _read_parquet(path: Path) -> Iterator[Prediction]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from (Prediction(**row) for row in batch.to_pylist())
    except (ArrowException, TypeError) as error:
        raise UserError(f"resume: {path} isn't a file of predictions; give another file") from error

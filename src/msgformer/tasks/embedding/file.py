"""Files of pooled features, written batch by batch and moved to their path when they are complete."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from msgformer.errors import UserError
from msgformer.tasks.prediction.record_layout import printable


class EmbeddingFile(ABC):
    """A file of features, written to a temporary file and moved to its path when it is complete.

    Args:
        output: The file.

    Attributes:
        names_path: File of the images' names; None if the file itself holds them.
        count: Number of rows so far.
        width: Number of features per row.
    """

    names_path: Path | None = None

    def __init__(self, output: Path) -> None:
        self.output = output
        self.partial = output.with_name(f".{output.name}.{os.getpid()}")
        self.count = self.width = 0

    def write(self, names: Sequence[str], features: np.ndarray) -> None:
        """Add rows.

        Args:
            names: Names of the images.
            features: Their features, float32 [B, D].
        """
        if len(names):
            self.width = features.shape[1]
            self._write(names, np.ascontiguousarray(features, dtype=np.float32))
            self.count += len(names)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self._finish(complete=error is None)
        except OSError as problem:
            if error is None:
                raise UserError(f"output: {self.output} can't be written ({problem.strerror or problem})") from problem
        finally:
            self.partial.unlink(missing_ok=True)

    @abstractmethod
    def _write(self, names: Sequence[str], features: np.ndarray) -> None:
        """Add rows, at least one."""

    @abstractmethod
    def _finish(self, *, complete: bool) -> None:
        """Close the file, and move it to its path if it is complete."""


class NpyFile(EmbeddingFile):
    """A NumPy array [N, D], and a text file with one name per line; newlines in names are escaped."""

    def __init__(self, output: Path) -> None:
        super().__init__(output)
        self.names_path = output.with_suffix(".txt")
        self.partial_names = self.partial.with_name(f"{self.partial.name}.txt")
        self._file: BinaryIO = self.partial.open("wb")
        self._names = self.partial_names.open("w", encoding="utf-8", errors="surrogateescape")

    def _header(self) -> None:
        # NumPy pads the header so that the first axis can grow: the final header is as long as the first one.
        shape = {"descr": "<f4", "fortran_order": False, "shape": (self.count, self.width)}
        np.lib.format.write_array_header_1_0(self._file, shape)

    def _write(self, names: Sequence[str], features: np.ndarray) -> None:
        if not self.count:
            self._header()
        self._file.write(features.astype("<f4", copy=False).tobytes())
        self._names.writelines(f"{_escape_newlines(name)}\n" for name in names)

    def _finish(self, *, complete: bool) -> None:
        try:
            if complete:
                self._file.seek(0)
                self._header()
            self._file.close()
            self._names.close()
            if complete:
                assert self.names_path is not None
                self.partial_names.replace(self.names_path)
                self.partial.replace(self.output)
        finally:
            self.partial_names.unlink(missing_ok=True)


def _escape_newlines(name: str) -> str:
    return name.replace("\n", r"\n").replace("\r", r"\r")


class ParquetFile(EmbeddingFile):
    """A table with the columns image and embedding."""

    def __init__(self, output: Path) -> None:
        super().__init__(output)
        self._writer: Any = None

    def _open(self) -> Any:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        if self._writer is None:
            columns = [pa.field("image", pa.string(), nullable=False), ("embedding", pa.list_(pa.float32()))]
            self._writer = ParquetWriter(self.partial, pa.schema(columns))
        return self._writer

    def _write(self, names: Sequence[str], features: np.ndarray) -> None:
        import pyarrow as pa

        writer = self._open()
        rows = [{"image": printable(name), "embedding": row} for name, row in zip(names, features, strict=True)]
        writer.write_table(pa.Table.from_pylist(rows, writer.schema))

    def _finish(self, *, complete: bool) -> None:
        if complete:
            self._open().close()
            self.partial.replace(self.output)
        elif self._writer is not None:
            self._writer.close()


def open_embedding_file(output: Path) -> EmbeddingFile:
    """Open a file for writing, in the format of its ending.

    Args:
        output: A ``.npy`` or ``.parquet`` file.

    Raises:
        UserError: It can't be written.
    """
    try:
        return ParquetFile(output) if output.suffix.lower() == ".parquet" else NpyFile(output)
    except OSError as error:
        raise UserError(f"output: {output} can't be written ({error.strerror or error})") from error

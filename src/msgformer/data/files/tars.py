"""Random access to the files inside tar files, by an index that is built once from the headers."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from msgformer.errors import UserError, shown

BLOCK = tarfile.BLOCKSIZE


class Member(NamedTuple):
    """A file inside a tar file.

    Attributes:
        name: Path in the tar file; a nested tar file counts as a folder.
        shard: The tar file on disk.
        offset: Position of the first byte in the tar file.
        size: Length in bytes.
    """

    name: str
    shard: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Read the bytes of the file. No file stays open, so this works in any thread and process.

        Raises:
            UserError: The tar file is missing, or has become shorter.
        """
        try:
            with open(self.shard, "rb", buffering=0) as file:  # noqa: PTH123  (called for every image; a Path is slower)
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise UserError(f"can't read shard {shown(self.shard)} ({error.strerror}); restore it") from error
        if len(content) < self.size:
            raise UserError(f"shard {shown(self.shard)} became shorter while it was in use; restore it")
        return content


class _Window(io.RawIOBase):
    """Part of a file as a file object."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self.file, self.start, self.size, self.position = file, start, size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        return self.position

    def read(self, size: int = -1) -> bytes:
        left = max(0, self.size - self.position)
        self.file.seek(self.start + self.position)
        content = self.file.read(left if size < 0 else min(size, left))
        self.position += len(content)
        return content


def index_tar(path: str) -> list[Member]:
    """Index all files in a tar file in their order, including those of nested tar files.

    Raises:
        UserError: The file does not exist, or is compressed, damaged or truncated; the message names it.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return list(_index(file, _Window(file, 0, Path(path).stat().st_size), path, ""))
    except OSError as error:
        raise UserError(f"can't read shard {shown(path)} ({error.strerror}); give another --data") from error
    except tarfile.TarError as error:
        if isinstance(error, tarfile.ReadError) and _is_compressed(path):
            raise UserError(f"shard {shown(path)} is compressed; decompress it first") from error
        reason = " ".join(str(error).split())
        raise UserError(f"shard {shown(path)} is damaged ({reason}); copy or download it again") from error


def _index(file: BinaryIO, window: _Window, path: str, prefix: str) -> Iterator[Member]:
    """Yield the files in the tar file inside ``window``, with ``prefix`` before their names."""
    with tarfile.open(fileobj=window, mode="r:") as tar:
        while (entry := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # frees the headers of a large shard
            if not entry.isreg():
                continue
            if entry.offset_data + entry.size > window.size:
                raise tarfile.ReadError(f"cut off inside {entry.name!r}")
            name = prefix + str(PurePosixPath(entry.name))
            start = window.start + entry.offset_data
            if name.endswith(".tar"):
                yield from _index(file, _Window(file, start, entry.size), path, f"{name.removesuffix('.tar')}/")
            else:
                yield Member(name, path, start, entry.size)
        # tarfile treats a damaged header as the end of the archive; the true end is a block of zeros.
        window.seek(tar.offset)
        if window.read(BLOCK) != bytes(BLOCK):
            raise tarfile.ReadError(f"cut off or overwritten at byte {window.start + tar.offset}")


def _is_compressed(path: str) -> bool:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))

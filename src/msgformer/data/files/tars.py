"""Random access to the files inside tar files, by an index that is built once from the headers."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

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


def index_tar(path: str) -> list[Member]:
    """Index all files in a tar file in their order, including those of nested tar files.

    Raises:
        UserError: The file does not exist, or is compressed, damaged or truncated; the message names it.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return list(_index(file, Member("", path, 0, Path(path).stat().st_size)))
    except OSError as error:
        raise UserError(f"can't read shard {shown(path)} ({error.strerror}); give another --data") from error
    except tarfile.TarError as error:
        if isinstance(error, tarfile.ReadError) and _is_compressed(path):
            raise UserError(f"shard {shown(path)} is compressed; decompress it first") from error
        reason = " ".join(str(error).split())
        raise UserError(f"shard {shown(path)} is damaged ({reason}); copy or download it again") from error


def _index(file: IO[bytes], whole: Member, prefix: str = "") -> Iterator[Member]:
    """Yield the files in a tar file.

    Args:
        file: Its content.
        whole: Its place in the file on disk.
        prefix: What to put before the names.
    """
    with tarfile.open(fileobj=file, mode="r:") as tar:
        while (entry := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # frees the headers of a large shard
            if not entry.isreg():
                continue
            if entry.offset_data + entry.size > whole.size:
                raise tarfile.ReadError(f"cut off inside {entry.name!r}")
            name = prefix + str(PurePosixPath(entry.name))
            member = Member(name, whole.shard, whole.offset + entry.offset_data, entry.size)
            if name.endswith(".tar"):
                nested = tar.extractfile(entry)
                assert nested is not None  # as it is a regular file
                yield from _index(nested, member, f"{name.removesuffix('.tar')}/")
            else:
                yield member
        # tarfile treats a damaged header as the end of the archive; the true end is a block of zeros.
        file.seek(tar.offset)
        if file.read(BLOCK) != bytes(BLOCK):
            raise tarfile.ReadError(f"cut off or overwritten at byte {whole.offset + tar.offset}")


def _is_compressed(path: str) -> bool:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))

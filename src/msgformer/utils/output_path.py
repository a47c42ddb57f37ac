"""Checks of the files and folders that a command writes, and their replacement once they are complete."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgformer.errors import UserError


def check_output_file(output: Path, *beside: Path, overwrite: bool, key: str = "output") -> None:
    """Check that a file can be written, as far as its path shows.

    Args:
        output: The file.
        *beside: Further files that are written with it.
        overwrite: Whether existing files may be replaced.
        key: Name of the option, for messages.

    Raises:
        UserError: A path is a folder or exists, or the folder of the file doesn't exist.
    """
    if not output.parent.is_dir():
        raise UserError(f"{key}: there is no folder {output.parent}; create it first")
    for path in (output, *beside):
        if path.is_dir():
            raise UserError(f"{key}: {path} is a folder; give the path of a file")
        if path.exists() and not overwrite:
            raise UserError(f"{key}: {path} exists; pass --overwrite or another --{key}")


def holds_files(output: Path) -> bool:
    """Return whether a folder to write to exists and holds something.

    Raises:
        UserError: It is a file.
    """
    if not output.exists():
        return False
    if not output.is_dir():
        raise UserError(f"output: {output} is a file, not a folder; pass another --output")
    return any(output.iterdir())


def check_output_folder(output: Path | None, *markers: str, overwrite: bool) -> None:
    """Check that a folder can be written: it doesn't exist, is empty, or may be replaced.

    Args:
        output: The folder; None for one that is free.
        *markers: Names of files or folders, one of which every output of the command holds. A folder without any of
            them is never replaced, as it holds something else.
        overwrite: Whether an existing folder may be replaced.

    Raises:
        UserError: It is a file, or a folder that isn't empty.
    """
    if output is None or not holds_files(output):
        return
    if not overwrite:
        raise UserError(f"output: {output} isn't empty; pass --overwrite or another --output")
    if not any((output / marker).exists() for marker in markers):
        raise UserError(
            f"output: {output} has no {' or '.join(markers)}, so --overwrite doesn't replace it; pass another --output"
        )


@contextmanager
def stage_if_used(output: Path) -> Iterator[Path]:
    """Yield the path to write to: ``output``, or a temporary path that replaces it at the end if it holds something.

    Args:
        output: The file or folder, which a check has allowed to replace.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        with replace_when_complete(output) as path:
            yield path
    else:
        yield output


@contextmanager
def replace_when_complete(output: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success, move what lies there to ``output``.

    Args:
        output: The file or folder. Files that are written beside the temporary one are moved beside it.

    Raises:
        OSError: It can't be written, for lack of space or permission.
    """
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        yield folder / output.name
        # The output itself comes last: if it is new, everything beside it is, too.
        for path in sorted(folder.iterdir(), key=lambda path: path.name == output.name):
            _replace(path, output.parent / path.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replace(path: Path, output: Path) -> None:
    """Move a file or folder; an existing folder is moved away before, since only an empty one can be replaced."""
    if not output.is_dir() or output.is_symlink():
        path.replace(output)
        return
    old = path.with_name(f"{path.name}.old")
    output.replace(old)
    try:
        path.replace(output)
    except OSError:
        old.replace(output)
        raise

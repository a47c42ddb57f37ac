"""Detection of safetensors files, and reading of their metadata."""

from __future__ import annotations

from pathlib import Path

from msgformer.errors import UserError


def is_safetensors(path: Path) -> bool:
    """Return whether a file starts like a safetensors file: 8 bytes with the length of the header, then JSON.

    Raises:
        OSError: The file can't be opened.
    """
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_header(path: Path) -> dict[str, str]:
    """Read the metadata in the header of a safetensors file; empty for other files.

    Raises:
        UserError: The file is damaged.
        OSError: The file can't be opened.
    """
    from safetensors import SafetensorError, safe_open

    if not is_safetensors(path):
        return {}
    try:
        with safe_open(path, "numpy") as tensors:
            return tensors.metadata() or {}
    except SafetensorError as error:
        raise UserError(f"checkpoint '{path}' is truncated or damaged; convert it again") from error

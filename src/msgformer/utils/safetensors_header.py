"""Files of safetensors: how they are known, and what their header says about the tensors."""

from __future__ import annotations

from pathlib import Path

from msgformer.errors import UserError


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as they do: with the length of a header in 8 bytes, then the header in JSON.

    Raises:
        OSError: it can't be opened.
    """
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_header(path: Path) -> dict[str, str]:
    """What the header of a safetensors file says beside names and shapes; nothing of other files.

    Raises:
        UserError: the file is damaged.
        OSError: it can't be opened.
    """
    from safetensors import SafetensorError, safe_open

    if not is_safetensors(path):
        return {}
    try:
        with safe_open(path, "numpy") as tensors:
            return tensors.metadata() or {}
    except SafetensorError as error:
        raise UserError(f"checkpoint '{path}' is cut short or damaged; convert it again") from error

"""Training checkpoints: reading without executing their content, and writing with a checksum (seal)."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from msgformer.errors import UserError

PREFIX = "model."
"""Prefix of the model's parameters inside the Lightning module."""

EMA_PREFIX = "ema.module."
"""Prefix of the averaged (EMA) parameters."""

SEAL = b"sha256:"
SEAL_LENGTH = len(SEAL) + 64


def read_training_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint file on the CPU; nothing in it is executed.

    Args:
        path: The file.

    Raises:
        UserError: The file is not a checkpoint, is damaged, or holds anything but tensors and plain values.
    """
    check_seal(path)
    try:
        contents: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return contents
    except Exception as error:  # torch raises many types of errors for damaged pickles
        if isinstance(error, OSError) and error.filename is not None:
            raise
        reason = " ".join(str(error).split())
        if "weights_only" in reason.lower() or "weights only" in reason.lower():
            reason = "it holds Python objects, which are not loaded for safety"
        raise UserError(f"{path} can't be read as a checkpoint: {reason[:160] or type(error).__name__}") from error


def trained_weights(checkpoint: dict[str, Any], *, ema: bool = False) -> dict[str, Any]:
    """Return the model's parameters and buffers from a checkpoint.

    Args:
        checkpoint: Content of the file, as of `read_training_checkpoint`.
        ema: Whether to return the averaged weights if there are any.
    """
    state = checkpoint.get("state_dict", {})
    prefix = EMA_PREFIX if ema and any(name.startswith(EMA_PREFIX) for name in state) else PREFIX
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def check_seal(path: Path) -> None:
    """Raise UserError if a checkpoint does not match its checksum."""
    if is_sealed(path) is False:
        raise UserError(f"{path} is damaged: its contents don't match their checksum; copy it again or use another")


def seal(archive: io.BytesIO) -> None:
    """Add a checksum to a zip archive, as the archive's comment.

    Torch doesn't verify the archive's own checksums when it reads tensors. ``zipfile.ZipFile.testzip`` does, but these
    don't cover the archive's directory: a flipped bit there passes, and torch loads a tensor of arbitrary values.

    Raises:
        ValueError: The archive already has a comment.
    """
    with archive.getbuffer() as view:
        if bytes(view[-2:]) != b"\0\0":
            raise ValueError("the archive already has a comment, which leaves no place for a checksum")
        view[-2:] = SEAL_LENGTH.to_bytes(2, "little")  # an archive ends with the length of its comment
        digest = hashlib.sha256(view).hexdigest()
    archive.seek(0, os.SEEK_END)
    archive.write(SEAL + digest.encode())


def is_sealed(path: Path) -> bool | None:
    """Return whether a file matches the checksum at its end; None if there is no checksum."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        body = max(0, size - SEAL_LENGTH)
        file.seek(body)
        end = file.read()
        if not end.startswith(SEAL):
            return None
        file.seek(0)
        digest, left = hashlib.sha256(), body
        while left:
            block = file.read(min(left, 1 << 20))
            digest.update(block)
            left -= len(block)
    return end == SEAL + digest.hexdigest().encode()


def save_checkpoint(checkpoint: dict[str, Any], path: Path, keep: str | None = None) -> None:
    """Write a sealed checkpoint atomically.

    Args:
        checkpoint: Tensors and plain values.
        path: The file.
        keep: Name that an existing file is renamed to; None replaces it.

    Raises:
        OSError: The file can't be written; the error names ``path``.
    """
    buffer = io.BytesIO()  # on a full disk torch would raise an error about its file format
    torch.save(checkpoint, buffer)
    seal(buffer)
    write_atomically(path, lambda partial: partial.write_bytes(buffer.getbuffer()), keep=keep)


def write_atomically(path: Path, write: Callable[[Path], object], keep: str | None = None) -> None:
    """Write a temporary file beside ``path``, and rename it once it is on the disk.

    Args:
        path: The file.
        write: Function that writes to the path that it is called with.
        keep: Name that an existing file is renamed to; None replaces it.

    Raises:
        OSError: The file can't be written, for example on a full disk; the error names ``path``.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            path.replace(path.with_name(keep))
        partial.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)

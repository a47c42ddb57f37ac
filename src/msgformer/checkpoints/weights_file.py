"""Reading of checkpoint files from any source, without importing or running anything that they name."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load_file

from msgformer.checkpoints.restricted_unpickle import StandIn, load_restricted
from msgformer.errors import UserError
from msgformer.utils.safetensors_header import is_safetensors


class Checkpoint(dict[str, Any]):
    """Content of a checkpoint file, with tensors on the CPU.

    Attributes:
        left_out: Sorted names of classes and functions that were not restored; their objects are replaced by
            `msgformer.checkpoints.restricted_unpickle.StandIn`.
    """

    left_out: tuple[str, ...] = ()


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a safetensors file, or any file of ``torch.save``, without running code from it.

    Official checkpoints hold command line arguments and configurations beside the weights, as objects that
    ``torch.load(weights_only=True)`` rejects; they are replaced by stand-ins.

    Args:
        path: The file; its format is detected by its content, not by its name.

    Returns:
        The dictionary in the file.

    Raises:
        UserError: The file can't be opened, is not a checkpoint, or is damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content, left_out = _load(file, path)
    except OSError as error:
        raise UserError(
            f"checkpoint '{path}' can't be opened ({error.strerror or error}); "
            "give the path of a .pth or .safetensors file"
        ) from error
    except Exception as error:  # a damaged or malicious file can raise any type of error
        known = isinstance(error, pickle.UnpicklingError) and str(error)
        reason = str(error) if known else "it is truncated or damaged"
        raise UserError(f"checkpoint '{path}' can't be read: {reason}; download or save it again") from error
    checkpoint = Checkpoint(content)
    checkpoint.left_out = tuple(sorted(left_out))
    return checkpoint


def _load(file: BinaryIO, path: Path) -> tuple[dict[str, Any], set[str]]:
    """Return the content of a file, and the names of what was not restored.

    Raises:
        UnpicklingError: The file does not hold a dictionary; the message says what it holds.
        Exception: The file is damaged.
    """
    if is_safetensors(path):
        return load_file(path), set()
    start = file.read(512)
    file.seek(0)
    if not start.startswith((b"PK\x03\x04", b"\x80")):  # a zip file, a pickle
        raise pickle.UnpicklingError(_describe(start))
    content, left_out = _load_torch(file, path.stat().st_size)
    if isinstance(content, StandIn):
        raise pickle.UnpicklingError("it is a whole model as a Python object, not its state_dict")
    if not isinstance(content, dict):
        raise pickle.UnpicklingError(f"it holds a {type(content).__name__}, not a dictionary of tensors")
    return content, left_out


def _load_torch(file: BinaryIO, size: int) -> tuple[Any, set[str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that it rejects, and that are read below
            return torch.load(file, map_location="cpu", weights_only=True), set()
    except Exception:  # the restricted reader reads the file, or raises a better error
        file.seek(0)
        return load_restricted(file, size)


def _describe(start: bytes) -> str:
    """Describe a file that is not a checkpoint by its first bytes."""
    text = start.lstrip().lower()
    if not start:
        return "it is empty"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, not the file that the page links to"
    if text.startswith(b"version https://git-lfs"):
        return "it is a pointer to a file in Git LFS ('git lfs pull' fetches it)"
    return "it is neither a PyTorch nor a safetensors file"

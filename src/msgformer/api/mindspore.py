"""Where the verbs meet MindSpore: its checkpoints in and out. It is an extra, and imported when it is needed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from msgformer.errors import UserError


def check_mindspore() -> None:
    """Make sure that MindSpore can work, as far as that can be seen without importing it.

    Raises:
        UserError: it isn't installed, or its binaries can't take the NumPy that is.
    """
    try:
        version("mindspore")
    except PackageNotFoundError as error:
        raise UserError("MindSpore isn't installed; 'pip install msgformer[mindspore]' installs it") from error
    if int(version("numpy").partition(".")[0]) > 1:
        raise UserError(f"MindSpore can't work with NumPy {version('numpy')}; 'pip install \"numpy<2\"' mends it")


def is_mindspore(path: Path) -> bool:
    """Whether a file begins as MindSpore's checkpoints do: with the tag of a protocol buffer's first field."""
    with path.open("rb") as file:
        start = file.read(9)
    return path.suffix == ".ckpt" and start[:1] == b"\n" and start[8:] != b"{"


def read_mindspore(path: Path) -> dict[str, Any]:
    """The tensors of a model in a checkpoint of MindSpore, by this package's names.

    Raises:
        UserError: it can't be read.
    """
    import torch

    from msgformer.mindspore.weights import read_weights

    return {name: torch.from_numpy(value) for name, value in read_weights(path).items()}


def save_mindspore(state: dict[str, Any], path: Path) -> None:
    """Write tensors by this package's names as a checkpoint of MindSpore, in single precision."""
    from msgformer.mindspore.weights import write_weights

    write_weights({name: tensor.float().numpy() for name, tensor in state.items()}, path)

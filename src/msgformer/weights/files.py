"""Files of weights, checked and written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgformer.errors import UserError

if TYPE_CHECKING:
    from msgformer.checkpoints.card import ModelCard


def check_weights_paths(source: Path, output: Path, *suffixes: str) -> None:
    """Make sure, as far as that can be seen beforehand, that one file can be read and the other written.

    Raises:
        UserError: A path can't be used.
    """
    if not source.is_file():
        problem = "is a directory, not a file" if source.is_dir() else "doesn't exist"
        raise UserError(f"checkpoint '{source}' {problem}; give the path of a .pth or .safetensors file")
    check_weights_output(output, *suffixes)
    if output.exists() and output.samefile(source):
        raise UserError(f"output '{output}' is the checkpoint itself; give another path")


def check_weights_output(output: Path, *suffixes: str) -> None:
    """Make sure, as far as that can be seen beforehand, that a file of weights can be written.

    Args:
        output: The file.
        *suffixes: How its name may end; .safetensors if nothing is given.

    Raises:
        UserError: It has another ending, is a folder, or lies in none.
    """
    endings = suffixes or (".safetensors",)
    if output.suffix not in endings:
        raise UserError(f"output '{output}' has to end with {' or '.join(endings)}; try '{output.stem}{endings[0]}'")
    if output.is_dir():
        raise UserError(f"output '{output}' is a directory; give the path of a file")
    if not output.parent.is_dir():
        raise UserError(f"the folder of output '{output}' doesn't exist; create it first")


def write_safetensors(state: dict[str, Any], output: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file that is complete or not there at all.

    Args:
        state: Tensors by name.
        output: The file.
        metadata: What its header says about them.

    Raises:
        UserError: It can't be written, for want of space or permission.
    """
    from safetensors.torch import save_file

    # safetensors takes no tensors that share memory, as views in a checkpoint may.
    tensors = {name: tensor.contiguous().clone() for name, tensor in state.items()}
    write_whole(output, lambda path: save_file(tensors, path, metadata))


def write_checkpoint(state: dict[str, Any], card: ModelCard, output: Path) -> None:
    """Write a checkpoint as a training does, that is complete or not there at all.

    Args:
        state: Tensors by name.
        card: What is known about the model.
        output: The file.

    Raises:
        UserError: It can't be written, for want of space or permission.
    """
    from msgformer.checkpoints.checkpoint_file import PREFIX, save_checkpoint

    checkpoint: dict[str, Any] = {"state_dict": {PREFIX + name: tensor for name, tensor in state.items()}}
    card.write(checkpoint)
    write_whole(output, lambda path: save_checkpoint(checkpoint, path))


def write_whole(output: Path, save: Callable[[Path], object]) -> None:
    """Have ``save`` write a file that is complete or not there at all.

    Args:
        output: The file.
        save: Called with the path to write to, which has the same ending.

    Raises:
        UserError: It can't be written, for want of space or permission.
    """
    from safetensors import SafetensorError

    unfinished = output.with_name(f".{os.getpid()}.{output.name}")
    try:
        unfinished.touch()
        mode = unfinished.stat().st_mode  # what the user's umask makes of it; safetensors lets only the owner read
        save(unfinished)
        unfinished.chmod(mode)
        unfinished.replace(output)
    except (OSError, SafetensorError) as error:
        raise UserError(f"output '{output}' can't be written: {error}; make room or give another path") from error
    finally:
        unfinished.unlink(missing_ok=True)

"""Check and write files of weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgformer.errors import UserError
from msgformer.utils.output_path import check_output_file, replace_when_complete

if TYPE_CHECKING:
    from msgformer.checkpoints.card import ModelCard


def check_weights_paths(source: Path, output: Path, *suffixes: str, overwrite: bool) -> None:
    """Check that a file can be read and another one written, as far as the paths show.

    Args:
        source: File to read.
        output: File to write.
        *suffixes: Suffixes that the output may have; .safetensors by default.
        overwrite: Whether an existing output may be replaced.

    Raises:
        UserError: A path can't be used.
    """
    if not source.is_file():
        problem = "is a directory, not a file" if source.is_dir() else "doesn't exist"
        raise UserError(f"checkpoint '{source}' {problem}; give the path of a .pth or .safetensors file")
    if output.exists() and output.samefile(source):
        raise UserError(f"output '{output}' is the checkpoint itself; give another path")
    check_weights_output(output, *suffixes, overwrite=overwrite)


def check_weights_output(output: Path, *suffixes: str, overwrite: bool) -> None:
    """Check that a file of weights can be written, as far as its path shows.

    Args:
        output: File to write.
        *suffixes: Suffixes that it may have; .safetensors by default.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UserError: It has another suffix, is a folder or exists, or its folder does not exist.
    """
    allowed = suffixes or (".safetensors",)
    if output.suffix not in allowed:
        raise UserError(f"output '{output}' has to end with {' or '.join(allowed)}; try '{output.stem}{allowed[0]}'")
    check_output_file(output, overwrite=overwrite)


def write_safetensors(state: dict[str, Any], output: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically.

    Args:
        state: Tensors by name.
        output: File to write.
        metadata: Metadata for its header.

    Raises:
        UserError: The file can't be written, for lack of space or permission.
    """
    from safetensors.torch import save_file

    # safetensors refuses tensors that share memory, as views in a checkpoint may.
    tensors = {name: tensor.contiguous().clone() for name, tensor in state.items()}
    write_output(output, lambda path: save_file(tensors, path, metadata))


def write_checkpoint(state: dict[str, Any], card: ModelCard, output: Path) -> None:
    """Write a checkpoint in the format of training, atomically.

    Args:
        state: Tensors by name.
        card: Card of the model.
        output: File to write.

    Raises:
        UserError: The file can't be written, for lack of space or permission.
    """
    from msgformer.checkpoints.checkpoint_file import PREFIX, save_checkpoint

    checkpoint: dict[str, Any] = {"state_dict": {PREFIX + name: tensor for name, tensor in state.items()}}
    card.write(checkpoint)
    write_output(output, lambda path: save_checkpoint(checkpoint, path))


def write_output(output: Path, save: Callable[[Path], object]) -> None:
    """Write a file atomically: write a temporary file with ``save``, and rename it to ``output``.

    Args:
        output: File to write.
        save: Called with the path of the temporary file, which has the same name.

    Raises:
        UserError: The file can't be written, for lack of space or permission.
    """
    from safetensors import SafetensorError

    try:
        with replace_when_complete(output) as path:
            path.touch()
            mode = path.stat().st_mode  # as set by the user's umask; safetensors would let only the owner read
            save(path)
            path.chmod(mode)
    except (OSError, SafetensorError) as error:
        raise UserError(f"output '{output}' can't be written: {error}; make room or give another path") from error

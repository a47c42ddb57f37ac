"""Checkpoint files, read whatever their origin: nothing that a file names is imported or run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from msgformer.errors import UserError


class Checkpoint(dict[str, Any]):
    """What a checkpoint file holds, tensors on the CPU.

    Attributes:
        left_out: Names of classes and functions that the file refers to and that were not restored, in
            alphabetical order; a `msgformer.models.unpickle.StandIn` is in the place of their objects.
    """

    left_out: tuple[str, ...] = ()


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a safetensors file, or any file of ``torch.save``, without running code from it.

    Official checkpoints hold command line arguments and configurations along with the weights, as objects that
    ``torch.load(weights_only=True)`` refuses; these become stand-ins.

    Args:
        path: The file; its content decides on the format, not its name.

    Returns:
        The dictionary in the file.

    Raises:
        UserError: the file can't be opened or isn't a checkpoint, or is damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(512)
            file.seek(0)
            if start.startswith((b"PK\x03\x04", b"\x80")):
                content, left_out = _load_torch(file, path)
            elif start[8:9] == b"{":  # safetensors: the length of a header in 8 bytes, the header in JSON
                content, left_out = load_file(path), set()
            else:
                raise UserError(f"checkpoint '{path}' {_describe(start)}")
    except OSError as error:
        raise UserError(
            f"checkpoint '{path}' can't be opened: {error.strerror}; give the path of a .pth or .safetensors file"
        ) from error
    except (UserError, KeyboardInterrupt):
        raise
    return _checked(content, left_out, path)

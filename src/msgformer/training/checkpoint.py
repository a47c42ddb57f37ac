"""Checkpoint files of a training: atomic writing, safe reading, and the choice of the one to resume from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from msgformer.checkpoints.checkpoint_file import is_sealed, read_training_checkpoint, save_checkpoint
from msgformer.checkpoints.model_location import LAST
from msgformer.errors import UserError

BEST_EMA, PREVIOUS = "best_ema.ckpt", "previous.ckpt"
BACKUPS = {LAST: PREVIOUS}
"""Name that an existing checkpoint is renamed to before a new one takes its place."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints with a checksum, atomically; reads only tensors and plain values.

    If the process is killed while writing, the existing checkpoint stays intact.

    Args:
        clean: Returns the part of a checkpoint that is saved; all of it by default.
    """

    def __init__(self, clean: Callable[[dict[str, Any]], dict[str, Any]] = lambda checkpoint: checkpoint) -> None:
        self._clean = clean

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; an existing ``last.ckpt`` is renamed to ``previous.ckpt``.

        Args:
            checkpoint: Content of the checkpoint.
            path: File to write.
            storage_options: Ignored, since the file is local.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)  # Lightning's callbacks rely on it
        save_checkpoint(self._clean(checkpoint), path, keep=BACKUPS.get(path.name))

    @override
    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint.

        Args:
            path: File to read.
            map_location: Ignored; tensors are loaded to the CPU.
            weights_only: Ignored; only tensors and plain values are loaded.
        """
        return read_training_checkpoint(Path(path))


def find_resumable(run: Path) -> Path | None:
    """Find the newest intact checkpoint in a run folder.

    A damaged checkpoint is reported on standard error, with the one that replaces it.

    Args:
        run: Run folder.

    Returns:
        The checkpoint; None if none has been written yet.

    Raises:
        UserError: All checkpoints are damaged.
    """
    found = [run / name for name in (LAST, PREVIOUS) if (run / name).is_file()]
    for number, path in enumerate(found):
        if is_sealed(path):
            if number:
                _report(f"{found[0]} is damaged; resuming from {path.name}, which was written before it")
            return path
    if found:
        names = " and ".join(path.name for path in found)
        raise UserError(f"resume: {names} in {run} can't be read (damaged); start a new run")
    return None


@rank_zero_only
def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

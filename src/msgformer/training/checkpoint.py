"""Checkpoints as Lightning writes and reads them in a training, and which one a training resumes from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from msgformer.checkpoints.checkpoint_file import is_sealed, read_checkpoint, save_checkpoint
from msgformer.checkpoints.model_location import LAST
from msgformer.errors import UserError

BEST_EMA, PREVIOUS = "best_ema.ckpt", "previous.ckpt"
KEPT = {LAST: PREVIOUS}
"""The checkpoint that a new one would replace, and the name under which it stays."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint, with a checksum, beside its place and then moves it there; reads plain values only.

    A process that is killed while it writes leaves the file before it untouched.

    Args:
        clean: Returns what is saved of a checkpoint; by default all of it.
    """

    def __init__(self, clean: Callable[[dict[str, Any]], dict[str, Any]] = lambda checkpoint: checkpoint) -> None:
        self._clean = clean

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``, and keep a last checkpoint that is there already as the previous one.

        ``storage_options`` don't apply to local files.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)  # as Lightning's own does, which its callbacks rely on
        save_checkpoint(self._clean(checkpoint), path, keep=KEPT.get(path.name))

    @override
    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint; ``map_location`` and ``weights_only`` are ignored in favor of CPU and True."""
        return read_checkpoint(Path(path))


def find_resumable(run: Path) -> Path | None:
    """Find the newest checkpoint in a run folder that a training can resume from; None if none was written yet.

    A damaged checkpoint, and what is taken instead, is reported on standard error.

    Args:
        run: Run folder.

    Raises:
        UserError: All checkpoints are damaged.
    """
    found = [run / name for name in (LAST, PREVIOUS) if (run / name).is_file()]
    for number, path in enumerate(found):
        if is_sealed(path):
            if number:
                _tell(f"{found[0]} is damaged; going on from {path.name}, which was written before it")
            return path
    if found:
        names = " and ".join(path.name for path in found)
        raise UserError(f"resume: {names} in {run} can't be read (damaged); begin a new run")
    return None


@rank_zero_only
def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

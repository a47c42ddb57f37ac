"""What happens when a training is told to stop."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.exceptions import SIGTERMException

from msgformer.training.run_files import RunFiles


@contextmanager
def resumable(files: RunFiles) -> Iterator[None]:
    """Say how a training goes on that Ctrl-C or SIGTERM ends inside the block.

    Lightning leaves by ``sys.exit(1)`` after the one and by an exit with status 0 after the other, and ignores
    Ctrl-C from then on. Here the one stays a KeyboardInterrupt, and the other ends with status 143, as in a shell.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as leaving:
        interrupted = isinstance(leaving.__context__, KeyboardInterrupt)
        if not interrupted and not isinstance(leaving, SIGTERMException):
            raise
        signal.signal(signal.SIGINT, on_interrupt)
        if files.rows:
            done = f"stopped after epoch {len(files.rows)}"
            print(f"{done}; 'msgformer train --resume {files.folder}' goes on from there", file=sys.stderr)
        if interrupted:
            raise KeyboardInterrupt from leaving
        raise SystemExit(128 + signal.SIGTERM) from leaving

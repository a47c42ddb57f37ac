"""Setup of data loader workers."""

from __future__ import annotations

import signal
from types import FrameType

import torch

GRACE_SECONDS = 60
"""Seconds that a worker keeps running after a signal, while the training process handles the same signal and saves."""


def start_worker(_worker: int) -> None:
    """Limit a worker to one thread, and delay its exit after a signal.

    A terminal or SLURM sends a signal to every process of a job. A worker that exited at once would make the training
    fail before it can save.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGTERM", "SIGUSR1"):
        if hasattr(signal, name) and hasattr(signal, "alarm"):
            signal.signal(getattr(signal, name), _exit_after_grace)


def _exit_after_grace(_number: int, _frame: FrameType | None) -> None:
    signal.alarm(GRACE_SECONDS)  # the default handler of SIGALRM ends the process

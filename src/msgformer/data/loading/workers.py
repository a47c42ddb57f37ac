"""The processes that read and augment for a training."""

from __future__ import annotations

import signal
from types import FrameType

import torch

GRACE_SECONDS = 60
"""Seconds that a worker goes on after a signal: the training, which got it too, takes its last batches from it."""


def start_worker(_worker: int) -> None:
    """Set one thread in a worker, since they are many, and let it outlive what stops the training.

    A terminal, SLURM and others send their signals to every process of a job. A worker that ended at once would take
    down the training before it can save.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGTERM", "SIGUSR1"):
        if hasattr(signal, name) and hasattr(signal, "alarm"):
            signal.signal(getattr(signal, name), _exit_after_grace)


def _exit_after_grace(_number: int, _frame: FrameType | None) -> None:
    signal.alarm(GRACE_SECONDS)  # whose own handling is to end the process

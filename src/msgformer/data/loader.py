"""Loaders of batches, for training, evaluation and prediction."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from msgformer.data.sampling import EpochSampler
from msgformer.data.workers import start_worker

Collate = Callable[[list[Any]], Any]


def default_workers() -> int:
    """One worker less than there are cores to use, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, max(1, cores - 1))


def make_loader(
    samples: Dataset[Any],
    sampler: EpochSampler,
    batch_size: int,
    workers: int,
    start_method: str | None = None,
    collate: Collate | None = None,
) -> DataLoader[Any]:
    """Batches of ``samples`` in the sampler's order.

    Args:
        samples: The pictures, each a function of the draw that it is asked for by.
        sampler: Which of them, and in what order.
        batch_size: Pictures a batch; the last batch may be smaller.
        workers: Processes that decode and augment; 0 does it in this one.
        start_method: "fork", "spawn" or "forkserver"; None leaves it to Python.
        collate: Makes a batch of the samples; None: torch's own, which stacks each of their fields.

    Returns:
        A loader, of ``Samples`` that of ``Sample(image [B, channels, height, width], label [B], position [B])``.
    """
    return DataLoader(
        samples,
        batch_size,
        sampler=sampler,
        num_workers=workers,
        multiprocessing_context=start_method if workers else None,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=start_worker if workers else None,
        collate_fn=collate,
    )

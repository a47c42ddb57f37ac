"""Data loaders for training, evaluation and prediction."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from msgformer.data.loading.sampling import EpochSampler
from msgformer.data.loading.workers import start_worker

Collate = Callable[[list[Any]], Any]


def default_workers() -> int:
    """Return the number of usable cores minus one, at least 1 and at most 8."""
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
    """Create a data loader that yields batches in the sampler's order.

    Args:
        samples: The dataset.
        sampler: Sampler of the dataset's indices.
        batch_size: Samples per batch; the last batch may be smaller.
        workers: Number of worker processes; 0 loads in the calling process.
        start_method: "fork", "spawn" or "forkserver"; None for Python's default.
        collate: Function that makes a batch of a list of samples; None for torch's default, which stacks their fields.

    Returns:
        The loader. For `Samples` its batches are ``Sample(image [B, C, H, W], label [B], position [B])``.
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

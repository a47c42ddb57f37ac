"""Loaders of batches, for training, evaluation and prediction."""

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
    """Return one worker less than there are usable cores, at least 1 and at most 8."""
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
    """Return a loader of batches in the sampler's order.

    Args:
        samples: The samples, whose indices are those that the sampler yields.
        sampler: Yields the indices of the samples.
        batch_size: Samples per batch; the last batch may be smaller.
        workers: Processes that decode and augment; 0 for the calling process.
        start_method: "fork", "spawn" or "forkserver"; None for Python's default.
        collate: Makes a batch of a list of samples; None for torch's default, which stacks their fields.

    Returns:
        The loader; its batches of ``Samples`` are ``Sample(image [B, C, H, W], label [B], position [B])``.
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

"""Loaders of training and validation batches for Lightning."""

from __future__ import annotations

import os

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader
from typing_extensions import override

from msgformer.data.samples import Sample, Samples, single_thread
from msgformer.data.sampling import EpochSampler


def default_workers() -> int:
    """One worker less than there are cores to use, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, max(1, cores - 1))


def make_loader(
    samples: Samples, sampler: EpochSampler, batch_size: int, workers: int, start_method: str | None = None
) -> DataLoader[Sample]:
    """Batches of ``samples`` in the sampler's order.

    Args:
        samples: The pictures.
        sampler: Which of them, and in what order.
        batch_size: Pictures a batch; the last batch may be smaller.
        workers: Processes that decode and augment; 0 does it in this one.
        start_method: "fork", "spawn" or "forkserver"; None leaves it to Python.

    Returns:
        A loader of ``Sample(image [B, channels, height, width], label [B], position [B])``.
    """
    return DataLoader(
        samples,
        batch_size,
        sampler=sampler,
        num_workers=workers,
        multiprocessing_context=start_method if workers else None,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=single_thread if workers else None,
    )


class ImageData(LightningDataModule):
    """Training and validation pictures of one run.

    Args:
        train: Training pictures.
        val: Validation pictures.
        batch_size: Pictures a batch and process.
        workers: Worker processes a loader.
        seed: The run's seed, for the order of the training pictures.
        start_method: How workers start; None leaves it to Python.
    """

    def __init__(
        self,
        train: Samples,
        val: Samples,
        batch_size: int,
        workers: int = 0,
        seed: int = 0,
        start_method: str | None = None,
    ) -> None:
        super().__init__()
        self.train, self.val = train, val
        self.batch_size, self.workers, self.seed, self.start_method = batch_size, workers, seed, start_method

    @override
    def train_dataloader(self) -> DataLoader[Sample]:
        """Whole batches of shuffled pictures."""
        assert self.trainer is not None
        world = self.trainer.world_size
        sampler = EpochSampler(
            len(self.train),
            self.seed,
            shuffle=True,
            multiple_of=self.batch_size * world,
            rank=self.trainer.global_rank,
            world_size=world,
        )
        # Lightning asks for the first batches of a resumed run before it tells the epoch.
        sampler.set_epoch(self.trainer.fit_loop.epoch_progress.current.processed)  # type: ignore[attr-defined]
        return make_loader(self.train, sampler, self.batch_size, self.workers, self.start_method)

    @override
    def val_dataloader(self) -> DataLoader[Sample]:
        """Every validation picture once, in order."""
        assert self.trainer is not None
        rank, world = self.trainer.global_rank, self.trainer.world_size
        sampler = EpochSampler(len(self.val), self.seed, shuffle=False, rank=rank, world_size=world)
        return make_loader(self.val, sampler, self.batch_size, self.workers, self.start_method)

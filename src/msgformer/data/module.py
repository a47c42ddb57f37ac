"""Loaders of training and validation batches for Lightning."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning import LightningDataModule, Trainer
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from msgformer.data.sampling import Draw, EpochSampler
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


class ImageData(LightningDataModule):
    """Training and validation pictures of one run, of any task.

    Args:
        train: Training pictures, each a function of the draw (epoch, index) that it is asked for by; of known number.
        val: Validation pictures, likewise.
        batch_size: Pictures a batch and process.
        workers: Worker processes a loader.
        seed: The run's seed, for the order of the training pictures.
        start_method: How workers start; None leaves it to Python.
        collate: Makes a batch of samples; None: torch's own.
        balance: Class of each training picture, to show all classes equally often; None: all pictures once.
    """

    def __init__(
        self,
        train: Dataset[Any],
        val: Dataset[Any],
        batch_size: int,
        workers: int = 0,
        seed: int = 0,
        start_method: str | None = None,
        collate: Collate | None = None,
        balance: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.train, self.val = train, val
        self.batch_size, self.workers, self.seed = batch_size, workers, seed
        self.start_method, self.collate, self.balance = start_method, collate, balance

    @override
    def train_dataloader(self) -> DataLoader[Any]:
        """Whole batches of shuffled pictures."""
        assert self.trainer is not None
        sampler = self.train_sampler(self.trainer.global_rank, self.trainer.world_size)
        # Lightning asks for the first batches of a resumed run before it tells the epoch.
        sampler.resume(*_position(self.trainer, self.batch_size))
        return self._loader(self.train, sampler)

    def train_sampler(self, rank: int, world_size: int) -> EpochSampler:
        """What decides which training pictures process ``rank`` of ``world_size`` sees, and in what order."""
        return EpochSampler(
            len(self.train),  # type: ignore[arg-type]  # torch's type has no length, as a stream has none
            self.seed,
            shuffle=True,
            multiple_of=self.batch_size * world_size,
            rank=rank,
            world_size=world_size,
            balance=self.balance,
        )

    @override
    def val_dataloader(self) -> DataLoader[Any]:
        """Every validation picture once, in order."""
        assert self.trainer is not None
        rank, world = self.trainer.global_rank, self.trainer.world_size
        count = len(self.val)  # type: ignore[arg-type]
        return self._loader(self.val, EpochSampler(count, self.seed, shuffle=False, rank=rank, world_size=world))

    def _loader(self, samples: Dataset[Any], sampler: EpochSampler) -> DataLoader[Any]:
        return make_loader(samples, sampler, self.batch_size, self.workers, self.start_method, self.collate)


def _position(trainer: Trainer, batch_size: int) -> Draw:
    """The epoch that a training is in as it begins or is resumed, and how many of its pictures a process has seen."""
    loop = trainer.fit_loop
    epochs, batches = loop.epoch_progress.state_dict(), loop.epoch_loop.batch_progress.state_dict()
    seen = batches["current"]["processed"] if loop.restarting else 0
    return epochs["current"]["processed"], seen * batch_size

"""Loaders of training and validation batches for Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning import LightningDataModule, Trainer
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from msgformer.data.loading.loader import Collate, make_loader
from msgformer.data.loading.sampling import Draw, EpochSampler


class ImageData(LightningDataModule):
    """Training and validation images of one run, of any task.

    Args:
        train: Training images, each a function of the draw (epoch, index) that it is asked for by; of known number.
        val: Validation images, likewise.
        batch_size: Images a batch and process.
        workers: Worker processes a loader.
        seed: The run's seed, for the order of the training images.
        start_method: How workers start; None leaves it to Python.
        collate: Makes a batch of samples; None: torch's own.
        balance: Class of each training image, to show all classes equally often; None: all images once.
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
        """Whole batches of shuffled images."""
        assert self.trainer is not None
        sampler = self.train_sampler(self.trainer.global_rank, self.trainer.world_size)
        # Lightning asks for the first batches of a resumed run before it tells the epoch.
        sampler.resume(*_position(self.trainer, self.batch_size))
        return self._loader(self.train, sampler)

    def train_sampler(self, rank: int, world_size: int) -> EpochSampler:
        """What decides which training images process ``rank`` of ``world_size`` sees, and in what order."""
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
        """Every validation image once, in order."""
        assert self.trainer is not None
        rank, world = self.trainer.global_rank, self.trainer.world_size
        count = len(self.val)  # type: ignore[arg-type]
        return self._loader(self.val, EpochSampler(count, self.seed, shuffle=False, rank=rank, world_size=world))

    def _loader(self, samples: Dataset[Any], sampler: EpochSampler) -> DataLoader[Any]:
        return make_loader(samples, sampler, self.batch_size, self.workers, self.start_method, self.collate)


def _position(trainer: Trainer, batch_size: int) -> Draw:
    """The epoch that a training is in as it begins or is resumed, and how many of its images a process has seen."""
    loop = trainer.fit_loop
    epochs, batches = loop.epoch_progress.state_dict(), loop.epoch_loop.batch_progress.state_dict()
    seen = batches["current"]["processed"] if loop.restarting else 0
    return epochs["current"]["processed"], seen * batch_size

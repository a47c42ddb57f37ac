"""Lightning data module with the training and validation images of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning import LightningDataModule, Trainer
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from msgformer.data.loading.loader import Collate, make_loader
from msgformer.data.loading.sampling import EpochSampler


class ImageData(LightningDataModule):
    """Data module of a run, for any task.

    Args:
        train: Training dataset, indexed by (epoch, index); it must have a length.
        val: Validation dataset, likewise.
        batch_size: Images per batch and process.
        workers: Worker processes per loader.
        seed: Seed of the run, for the order of the training images.
        start_method: Start method of the workers; None for Python's default.
        collate: Function that makes a batch of samples; None for torch's default.
        balance: Class of each training image, to draw all classes equally often; None draws each image once.
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
        """Return the loader of shuffled full training batches."""
        assert self.trainer is not None
        sampler = self.train_sampler(self.trainer.global_rank, self.trainer.world_size)
        # Lightning requests the first batches of a resumed run before it sets the epoch.
        sampler.resume(*_position(self.trainer, self.batch_size))
        return self._loader(self.train, sampler)

    def train_sampler(self, rank: int, world_size: int) -> EpochSampler:
        """Return the sampler of the training images of one process.

        Args:
            rank: Rank of the process.
            world_size: Number of processes.
        """
        return EpochSampler(
            len(self.train),  # type: ignore[arg-type]  # torch's Dataset type declares no length
            self.seed,
            shuffle=True,
            multiple_of=self.batch_size * world_size,
            rank=rank,
            world_size=world_size,
            balance=self.balance,
        )

    @override
    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Return the loader of the validation images, each once and in order; an empty list if there are none."""
        assert self.trainer is not None
        rank, world = self.trainer.global_rank, self.trainer.world_size
        count = len(self.val)  # type: ignore[arg-type]
        if count == 0:
            return []  # Lightning then skips the validation
        return self._loader(self.val, EpochSampler(count, self.seed, shuffle=False, rank=rank, world_size=world))

    def _loader(self, samples: Dataset[Any], sampler: EpochSampler) -> DataLoader[Any]:
        return make_loader(samples, sampler, self.batch_size, self.workers, self.start_method, self.collate)


def _position(trainer: Trainer, batch_size: int) -> tuple[int, int]:
    """Return the current epoch of a new or resumed run, and the number of its images that a process has seen."""
    loop = trainer.fit_loop
    epochs, batches = loop.epoch_progress.state_dict(), loop.epoch_loop.batch_progress.state_dict()
    seen = batches["current"]["processed"] if loop.restarting else 0
    return epochs["current"]["processed"], seen * batch_size

"""Sampler of an epoch's images: its order depends on (seed, epoch) only, not on the number of workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

from msgformer.data.loading.balance import balanced_order
from msgformer.utils.seeding import derive

EpochIndex = tuple[int, int]
"""Epoch and index of an image. Datasets are indexed by both, so that augmentation doesn't depend on the worker."""


class EpochSampler(Sampler[EpochIndex]):
    """Sampler that yields each image once per epoch, divided among the processes.

    Lightning calls :meth:`set_epoch`. The epoch reaches the workers as part of each index, so that persistent workers
    need no state.

    Args:
        count: Number of images in the dataset.
        seed: Seed of the run.
        shuffle: Whether to use a new random order per epoch, rather than the dataset's.
        multiple_of: Drop the last images of the order so that their number is a multiple of this; 1 drops none.
        rank: Rank of this process, 0..world_size-1.
        world_size: Number of processes; each takes every ``world_size``-th image.
        balance: Class of each image, to draw all classes equally often in random order; None draws each image once.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        *,
        shuffle: bool,
        multiple_of: int = 1,
        rank: int = 0,
        world_size: int = 1,
        balance: Sequence[int] | None = None,
    ) -> None:
        self.count = count
        self.seed = seed
        self.shuffle = shuffle
        self.used = count - count % multiple_of
        self.rank, self.world_size = rank, world_size
        self.balance = balance
        self.epoch = 0
        self.resumed: tuple[int, int] | None = None

    def resume(self, epoch: int, num_seen: int) -> None:
        """Continue in the middle of an epoch; the length stays that of a full epoch.

        Args:
            epoch: The epoch.
            num_seen: Number of images of this epoch that this process has already seen.
        """
        self.epoch = epoch
        self.resumed = epoch, num_seen

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the following iterations."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[EpochIndex]:
        share = self._order()[: self.used][self.rank :: self.world_size]
        if self.resumed is not None and self.resumed[0] == self.epoch:
            share = share[self.resumed[1] :]
        return iter([(self.epoch, index) for index in share])

    def _order(self) -> list[int]:
        """Return the order of the epoch's images for all processes together."""
        import numpy as np

        generator = np.random.default_rng(derive(self.seed, self.epoch))
        if self.balance is not None:
            order = balanced_order(self.balance, generator)
        else:
            order = generator.permutation(self.count) if self.shuffle else np.arange(self.count)
        indices: list[int] = order.tolist()
        return indices

    def __len__(self) -> int:
        return len(range(self.rank, self.used, self.world_size))

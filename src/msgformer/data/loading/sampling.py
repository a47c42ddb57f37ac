"""Which images an epoch shows, and in what order: a function of (seed, epoch), the same for any number of workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

from msgformer.data.loading.balance import balanced_order
from msgformer.utils.seeding import derive

Draw = tuple[int, int]
"""Epoch and index of an image: what a data set needs to know to give an image, whichever worker it runs in."""


class EpochSampler(Sampler[Draw]):
    """Every image once an epoch, this process's share of them.

    Lightning calls :meth:`set_epoch`. The epoch travels to the workers inside the draws, so that workers which
    live through many epochs need no state.

    Args:
        count: Images in the data set.
        seed: The run's seed.
        shuffle: In another order each epoch; otherwise in their own.
        multiple_of: Leave out the last few images of the epoch's order, so that their number is a multiple of
            this; 1 leaves out none.
        rank: This process, 0..world_size-1.
        world_size: Processes that share the images: each takes every ``world_size``-th.
        balance: Class of each image, to show all classes equally often instead of all images once; shuffled.
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
        self.resumed: Draw | None = None

    def resume(self, epoch: int, drawn: int) -> None:
        """Draw for ``epoch`` from now on, whose first ``drawn`` images of this process have been seen.

        The length stays that of a whole epoch.
        """
        self.epoch = epoch
        self.resumed = epoch, drawn

    def set_epoch(self, epoch: int) -> None:
        """Draw for this epoch from now on."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        share = self._order()[: self.used][self.rank :: self.world_size]
        if self.resumed is not None and self.resumed[0] == self.epoch:
            share = share[self.resumed[1] :]
        return iter([(self.epoch, index) for index in share])

    def _order(self) -> list[int]:
        """The epoch's images, for all processes together."""
        import numpy as np

        generator = np.random.default_rng(derive(self.seed, self.epoch))
        if self.balance is not None:
            return balanced_order(self.balance, generator).tolist()
        return (generator.permutation(self.count) if self.shuffle else np.arange(self.count)).tolist()

    def __len__(self) -> int:
        return len(range(self.rank, self.used, self.world_size))

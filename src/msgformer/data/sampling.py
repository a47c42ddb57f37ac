"""Which pictures an epoch shows, and in what order: a function of (seed, epoch), the same for any number of workers."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler

from msgformer.seeding import derive

Draw = tuple[int, int]
"""Epoch and index of a picture: what a data set needs to know to give a picture, whichever worker it runs in."""


class EpochSampler(Sampler[Draw]):
    """Every picture once an epoch, this process's share of them.

    Lightning calls :meth:`set_epoch`. The epoch travels to the workers inside the draws, so that workers which
    live through many epochs need no state.

    Args:
        count: Pictures in the data set.
        seed: The run's seed.
        shuffle: In another order each epoch; otherwise in their own.
        multiple_of: Leave out the last few pictures of the epoch's order, so that their number is a multiple of
            this; 1 leaves out none.
        rank: This process, 0..world_size-1.
        world_size: Processes that share the pictures: each takes every ``world_size``-th.
    """

    def __init__(
        self, count: int, seed: int, *, shuffle: bool, multiple_of: int = 1, rank: int = 0, world_size: int = 1
    ) -> None:
        self.count = count
        self.seed = seed
        self.shuffle = shuffle
        self.used = count - count % multiple_of
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self.resumed: Draw | None = None

    def resume(self, epoch: int, drawn: int) -> None:
        """Draw for ``epoch`` from now on, whose first ``drawn`` pictures of this process have been seen.

        The length stays that of a whole epoch.
        """
        self.epoch = epoch
        self.resumed = epoch, drawn

    def set_epoch(self, epoch: int) -> None:
        """Draw for this epoch from now on."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        import numpy as np

        order = np.arange(self.count)
        if self.shuffle:
            order = np.random.default_rng(derive(self.seed, self.epoch)).permutation(self.count)
        share = order[: self.used][self.rank :: self.world_size]
        if self.resumed is not None and self.resumed[0] == self.epoch:
            share = share[self.resumed[1] :]
        return iter([(self.epoch, index) for index in share.tolist()])

    def __len__(self) -> int:
        return len(range(self.rank, self.used, self.world_size))

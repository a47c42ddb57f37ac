"""Batches of images with similar aspect ratios, which need less padding; a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from msgformer.data.loading.balance import balanced_order
from msgformer.data.loading.module import ImageData
from msgformer.data.loading.sampling import EpochSampler
from msgformer.utils.seeding import derive


class GroupedSampler(EpochSampler):
    """Sampler whose batches hold only portrait or only landscape images, as far as their numbers allow.

    Args:
        upright: Whether each image is higher than wide.
        seed: Seed of the run.
        batch: Images per batch over all processes; an incomplete last batch is dropped.
        rank: Rank of this process, 0..world_size-1.
        world_size: Number of processes; each takes every ``world_size``-th image.
        balance: Class of each image, to draw all classes equally often; None draws each image once.
    """

    def __init__(
        self,
        upright: Sequence[bool],
        seed: int,
        *,
        batch: int,
        rank: int = 0,
        world_size: int = 1,
        balance: Sequence[int] | None = None,
    ) -> None:
        super().__init__(
            len(upright), seed, shuffle=True, multiple_of=batch, rank=rank, world_size=world_size, balance=balance
        )
        self.upright = tuple(upright)
        self.batch = batch

    @override
    def _order(self) -> list[int]:
        """Return full batches of either kind in random order, then the remaining images of both."""
        import numpy as np

        rng = np.random.default_rng(derive(self.seed, self.epoch))
        drawn = rng.permutation(self.count) if self.balance is None else balanced_order(self.balance, rng)
        order = drawn.tolist()
        batches, rest = [], []
        for kind in (False, True):
            members = [index for index in order if self.upright[index] is kind]
            whole = len(members) - len(members) % self.batch
            batches += [members[start : start + self.batch] for start in range(0, whole, self.batch)]
            rest += members[whole:]
        shuffled = [batches[place] for place in rng.permutation(len(batches))]
        return [index for batch in [*shuffled, rest] for index in batch]


class GroupedData(ImageData):
    """Data module whose training batches hold images with similar aspect ratios.

    Args:
        *args: Arguments of `ImageData`.
        upright: Whether each training image is higher than wide; None disables grouping.
        **kwargs: Keyword arguments of `ImageData`.
    """

    def __init__(self, *args: Any, upright: Sequence[bool] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.upright = upright

    @override
    def train_sampler(self, rank: int, world_size: int) -> EpochSampler:
        """Return a sampler that groups images by aspect ratio if it is known.

        Args:
            rank: Rank of this process.
            world_size: Number of processes.
        """
        if self.upright is None:
            return super().train_sampler(rank, world_size)
        total_batch = self.batch_size * world_size
        return GroupedSampler(
            self.upright, self.seed, batch=total_batch, rank=rank, world_size=world_size, balance=self.balance
        )

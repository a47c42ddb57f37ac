"""Batches of images of like shape, so that little is padded: still a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from msgformer.data.loading.module import ImageData
from msgformer.data.loading.sampling import EpochSampler
from msgformer.utils.seeding import derive


class GroupedSampler(EpochSampler):
    """Shuffled images such that each batch holds upright ones or lying ones only, as far as their numbers allow.

    Args:
        upright: Whether each image is higher than wide.
        seed: The run's seed.
        batch: Images a batch, over all processes; the last few images of an epoch's order are left out.
        rank: This process, 0..world_size-1.
        world_size: Processes that share the images: each takes every ``world_size``-th.
    """

    def __init__(self, upright: Sequence[bool], seed: int, *, batch: int, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(len(upright), seed, shuffle=True, multiple_of=batch, rank=rank, world_size=world_size)
        self.upright = tuple(upright)
        self.batch = batch

    @override
    def _order(self) -> list[int]:
        """Whole batches of either kind in random order, then batches of what is left of both."""
        import numpy as np

        rng = np.random.default_rng(derive(self.seed, self.epoch))
        order = rng.permutation(self.count).tolist()
        batches, rest = [], []
        for kind in (False, True):
            members = [index for index in order if self.upright[index] is kind]
            whole = len(members) - len(members) % self.batch
            batches += [members[start : start + self.batch] for start in range(0, whole, self.batch)]
            rest += members[whole:]
        shuffled = [batches[place] for place in rng.permutation(len(batches))]
        return [index for batch in [*shuffled, rest] for index in batch]


class GroupedData(ImageData):
    """Batches of images of like shape.

    Args:
        *args: As of ``ImageData``.
        upright: Whether each training image is higher than wide; None: batches hold any images.
        **kwargs: As of ``ImageData``.
    """

    def __init__(self, *args: Any, upright: Sequence[bool] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.upright = upright

    @override
    def train_sampler(self, rank: int, world_size: int) -> EpochSampler:
        """By shape, if that is known."""
        if self.upright is None:
            return super().train_sampler(rank, world_size)
        together = self.batch_size * world_size
        return GroupedSampler(self.upright, self.seed, batch=together, rank=rank, world_size=world_size)

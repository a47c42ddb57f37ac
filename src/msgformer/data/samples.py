"""Labelled pictures as a torch data set; which ones, and how they are varied, is decided by what asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.utils.data import Dataset

from msgformer.data.sampling import Draw
from msgformer.data.sources import Source
from msgformer.seeding import derive, seeded

if TYPE_CHECKING:
    from torch import Tensor

    from msgformer.data.preprocessing import Transform


class Sample(NamedTuple):
    """What a data set gives; a loader stacks the same fields to a batch.

    Attributes:
        image: Float tensor [channels, height, width].
        label: Class index, or UNLABELLED.
        position: Which picture of the source it is.
    """

    image: Tensor
    label: int
    position: int


class Samples(Dataset[Sample]):
    """Pictures of a source, transformed with randomness that is a function of (seed, epoch, index) alone.

    Args:
        source: Where the pictures come from.
        transform: From a picture to a tensor.
        seed: The run's seed.
    """

    def __init__(self, source: Source, transform: Transform, seed: int = 0) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.source.labels)

    def __getitem__(self, draw: Draw) -> Sample:
        epoch, index = draw
        image = self.source.load(index)
        with seeded(derive(self.seed, epoch, index)):
            return Sample(self.transform(image), self.source.labels[index], index)


def single_thread(_worker: int) -> None:
    """Set one thread in a worker: they are many, and each would otherwise start a thread a core."""
    torch.set_num_threads(1)

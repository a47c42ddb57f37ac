"""Labelled pictures as a torch data set; which ones, and how they are varied, is decided by what asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch.utils.data import Dataset

from msgformer.data.folder import Listing
from msgformer.data.images import read_image
from msgformer.data.sampling import Draw
from msgformer.seeding import derive, seeded

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from msgformer.data.preprocessing import Transform

UNLABELLED = -1


class Source(Protocol):
    """Labelled pictures that can be asked for by index; it must survive pickling, for workers that are spawned."""

    classes: tuple[str, ...]
    labels: tuple[int, ...]

    def name(self, index: int) -> str:
        """What to call picture ``index`` in messages and records."""

    def load(self, index: int) -> Image.Image:
        """Picture ``index`` in RGB."""


class FolderSource:
    """The image files of a listing.

    Args:
        listing: Which files, and their classes.
    """

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.classes, self.labels = listing.classes, listing.labels

    def name(self, index: int) -> str:
        """The path relative to the data folder."""
        return self.listing.names[index]

    def paths(self) -> list[str]:
        """Where all the files lie."""
        return [self.listing.path(index) for index in range(len(self.listing))]

    def load(self, index: int) -> Image.Image:
        """The decoded file; raises UserError naming it if that fails."""
        return read_image(self.listing.path(index))


class FileSource:
    """Image files that nobody has labelled.

    Args:
        files: Their paths.
    """

    classes: tuple[str, ...] = ()

    def __init__(self, files: list[str]) -> None:
        self.files = files
        self.labels = (UNLABELLED,) * len(files)

    def name(self, index: int) -> str:
        """The path."""
        return self.files[index]

    def load(self, index: int) -> Image.Image:
        """The decoded file; raises UserError naming it if that fails."""
        return read_image(self.files[index])


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

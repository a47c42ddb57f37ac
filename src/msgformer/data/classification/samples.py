"""Labeled images as a torch data set; which ones, and how they are varied, is decided by what asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch.utils.data import Dataset

from msgformer.config.data_options import OnBadImage
from msgformer.data.files.sources import Source
from msgformer.data.loading.sampling import Draw
from msgformer.errors import UserError
from msgformer.utils.seeding import derive, seeded

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from msgformer.data.preprocessing import Transform


UNREADABLE = -2
"""The label of an image that stands for one that can't be read."""


class Sample(NamedTuple):
    """What a data set gives; a loader stacks the same fields to a batch.

    Attributes:
        image: Float tensor [channels, height, width].
        label: Class index, UNLABELED or UNREADABLE.
        position: Which image of the source it is.
    """

    image: Tensor
    label: int
    position: int


class Samples(Dataset[Sample]):
    """Images of a source, transformed with randomness that is a function of (seed, epoch, index) alone.

    Args:
        source: Where the images come from.
        transform: From an image to a tensor.
        seed: The run's seed.
        on_bad_image: What to do about an image that can't be read: "stop" with an error, or give a black one in its
            place whose label is ``UNREADABLE`` ("skip").
        min_side: That of the preprocessing: how small a JPEG may be decoded, 0 for never smaller than it is.
    """

    def __init__(
        self,
        source: Source,
        transform: Transform,
        seed: int = 0,
        on_bad_image: OnBadImage = "stop",
        min_side: int = 0,
    ) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed
        self.on_bad_image = on_bad_image
        self.min_side = min_side

    def __len__(self) -> int:
        return len(self.source.labels)

    def __getitem__(self, draw: Draw) -> Sample:
        epoch, index = draw
        image, label = self._load(index)
        with seeded(derive(self.seed, epoch, index)):
            return Sample(self.transform(image), label, index)

    def _load(self, index: int) -> tuple[Image.Image, int]:
        try:
            return self.source.load(index, self.min_side), self.source.labels[index]
        except UserError:
            if self.on_bad_image == "stop":
                raise
        from PIL import Image

        return Image.new("RGB", (1, 1)), UNREADABLE

"""Labelled pictures as a torch data set; which ones, and how they are varied, is decided by what asks for them."""

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
"""The label of a picture that stands for one that can't be read."""


class Sample(NamedTuple):
    """What a data set gives; a loader stacks the same fields to a batch.

    Attributes:
        image: Float tensor [channels, height, width].
        label: Class index, UNLABELLED or UNREADABLE.
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
        on_bad_image: What to do about a picture that can't be read: "stop" with an error, or give a black one in its
            place whose label is ``UNREADABLE`` ("skip").
        least_side: That of the preprocessing: how small a JPEG may be decoded, 0 for never smaller than it is.
    """

    def __init__(
        self,
        source: Source,
        transform: Transform,
        seed: int = 0,
        on_bad_image: OnBadImage = "stop",
        least_side: int = 0,
    ) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed
        self.on_bad_image = on_bad_image
        self.least_side = least_side

    def __len__(self) -> int:
        return len(self.source.labels)

    def __getitem__(self, draw: Draw) -> Sample:
        epoch, index = draw
        image, label = self._load(index)
        with seeded(derive(self.seed, epoch, index)):
            return Sample(self.transform(image), label, index)

    def _load(self, index: int) -> tuple[Image.Image, int]:
        try:
            return self.source.load(index, self.least_side), self.source.labels[index]
        except UserError:
            if self.on_bad_image == "stop":
                raise
        from PIL import Image

        return Image.new("RGB", (1, 1)), UNREADABLE

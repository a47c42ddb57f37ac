"""Labeled images as a torch dataset, indexed by (epoch, index)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch.utils.data import Dataset

from msgformer.config.data_options import OnBadImage
from msgformer.data.files.sources import Source
from msgformer.data.loading.sampling import EpochIndex
from msgformer.errors import UserError
from msgformer.utils.seeding import derive, seeded

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from msgformer.data.files.value_range import ValueRange
    from msgformer.data.preprocessing import Transform


UNREADABLE = -2
"""Label of the placeholder for an image that can't be read."""


class Sample(NamedTuple):
    """One sample; a loader stacks the fields of several samples to a batch.

    Attributes:
        image: Float tensor [C, H, W].
        label: Class index, or UNREADABLE.
        position: Index of the image in the source.
    """

    image: Tensor
    label: int
    position: int


class Samples(Dataset[Sample]):
    """Dataset of a source's images; random transforms depend only on (seed, epoch, index).

    Args:
        source: Source of the images.
        transform: Function from an image to a tensor.
        seed: Seed of the run.
        on_bad_image: What to do with an image that can't be read: "stop" with an error, or replace it by a black image
            with the label ``UNREADABLE`` ("skip").
        min_side: Minimum side in pixels at which a JPEG may be decoded, as of `Preprocessing`; 0 for its full size.
        value_range: Values of black and white in images of more than 8 bits, as of `Preprocessing`.
    """

    def __init__(
        self,
        source: Source,
        transform: Transform,
        seed: int = 0,
        on_bad_image: OnBadImage = "stop",
        min_side: int = 0,
        value_range: ValueRange | None = None,
    ) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed
        self.on_bad_image = on_bad_image
        self.min_side, self.value_range = min_side, value_range

    def __len__(self) -> int:
        return len(self.source.labels)

    def __getitem__(self, epoch_index: EpochIndex) -> Sample:
        epoch, index = epoch_index
        image, label = self._load(index)
        with seeded(derive(self.seed, epoch, index)):
            return Sample(self.transform(image), label, index)

    def _load(self, index: int) -> tuple[Image.Image, int]:
        try:
            return self.source.load(index, self.min_side, self.value_range), self.source.labels[index]
        except UserError:
            if self.on_bad_image == "stop":
                raise
        from PIL import Image

        return Image.new("RGB", (1, 1)), UNREADABLE

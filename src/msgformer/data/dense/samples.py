"""Annotated images as torch datasets; random transforms depend only on (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.utils.data import Dataset

from msgformer.data.detection.instances import InstanceSet
from msgformer.data.detection.transforms import DetectTransform, Target
from msgformer.data.files.value_range import ValueRange
from msgformer.data.loading.sampling import EpochIndex
from msgformer.data.segmentation.label_maps import LabeledImages
from msgformer.data.segmentation.transforms import SegmentTransform
from msgformer.utils.seeding import derive, seeded

if TYPE_CHECKING:
    from torch import Tensor


class DenseSample(NamedTuple):
    """One sample.

    Attributes:
        image: Float tensor [3, H, W].
        target: For a detector ``boxes``, ``labels`` and optionally ``masks``; for a segmenter a label map [h, w].
        position: Index of the image in the source.
    """

    image: Tensor
    target: Target | Tensor
    position: int


class DenseBatch(NamedTuple):
    """Batch of samples of different sizes.

    Attributes:
        images: Float tensors [3, H, W].
        targets: One target per image, as in :class:`DenseSample`.
        positions: Indices of the images in the source, int64 [B].
    """

    images: list[Tensor]
    targets: list[Target | Tensor]
    positions: Tensor


class DetectionSamples(Dataset[DenseSample]):
    """Dataset of transformed images with their objects.

    Args:
        source: Source of the images.
        transform: Function from an image and its objects to a detector's input and targets.
        with_masks: Whether the masks of the objects are needed.
        seed: Seed of the run.
        value_range: Values of black and white in images of more than 8 bits, as of `read_image`.
    """

    def __init__(
        self,
        source: InstanceSet,
        transform: DetectTransform,
        with_masks: bool,
        seed: int = 0,
        value_range: ValueRange | None = None,
    ) -> None:
        self.source, self.transform = source, transform
        self.with_masks, self.seed, self.value_range = with_masks, seed, value_range

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, epoch_index: EpochIndex) -> DenseSample:
        epoch, index = epoch_index
        image = self.source.load(index, self.value_range)
        target = self.source.target(index, self.with_masks, decoded=False)
        masks = self.source.mask_chunks(index) if self.with_masks else None
        with seeded(derive(self.seed, epoch, index)):
            return DenseSample(*self.transform(image, target, masks), index)


class SegmentationSamples(Dataset[DenseSample]):
    """Dataset of transformed images with their label maps.

    Args:
        source: Source of the images.
        transform: Function from an image and its label map to a segmenter's input and targets.
        seed: Seed of the run.
        value_range: Values of black and white in images of more than 8 bits, as of `read_image`.
    """

    def __init__(
        self,
        source: LabeledImages,
        transform: SegmentTransform,
        seed: int = 0,
        value_range: ValueRange | None = None,
    ) -> None:
        self.source, self.transform, self.seed, self.value_range = source, transform, seed, value_range

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, epoch_index: EpochIndex) -> DenseSample:
        epoch, index = epoch_index
        image = self.source.load(index, self.value_range)
        labels = self.source.target(index, image.size)
        with seeded(derive(self.seed, epoch, index)):
            return DenseSample(*self.transform(image, labels), index)


def collate(samples: Sequence[DenseSample]) -> DenseBatch:
    """Make a batch of samples of different sizes."""
    images, targets, positions = zip(*samples, strict=True)
    return DenseBatch(list(images), list(targets), torch.tensor(positions))

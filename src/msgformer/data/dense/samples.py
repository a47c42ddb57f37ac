"""Annotated images as torch data sets, varied with randomness that is a function of (seed, epoch, index) alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.utils.data import Dataset

from msgformer.data.detection.instances import InstanceSet
from msgformer.data.detection.transforms import DetectTransform, Target
from msgformer.data.loading.sampling import Draw
from msgformer.data.segmentation.label_maps import LabeledImages
from msgformer.data.segmentation.transforms import SegmentTransform
from msgformer.utils.seeding import derive, seeded

if TYPE_CHECKING:
    from torch import Tensor


class DenseSample(NamedTuple):
    """What a data set gives.

    Attributes:
        image: Float tensor [3, H, W].
        target: A detector's ``boxes``, ``labels`` and perhaps ``masks``, or a segmenter's classes [h, w].
        position: Which image of the source it is.
    """

    image: Tensor
    target: Target | Tensor
    position: int


class DenseBatch(NamedTuple):
    """Samples of any sizes, one after the other.

    Attributes:
        images: Float tensors [3, H, W].
        targets: One an image, as in :class:`DenseSample`.
        positions: int64 [B].
    """

    images: list[Tensor]
    targets: list[Target | Tensor]
    positions: Tensor


class DetectionSamples(Dataset[DenseSample]):
    """Images and their objects, transformed.

    Args:
        source: Where they come from.
        transform: From an image and its objects to what a detector takes.
        with_masks: Whether the objects' masks are needed.
        seed: The run's seed.
    """

    def __init__(self, source: InstanceSet, transform: DetectTransform, with_masks: bool, seed: int = 0) -> None:
        self.source, self.transform = source, transform
        self.with_masks, self.seed = with_masks, seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, draw: Draw) -> DenseSample:
        epoch, index = draw
        image, target = self.source.load(index), self.source.target(index, self.with_masks)
        with seeded(derive(self.seed, epoch, index)):
            return DenseSample(*self.transform(image, target), index)


class SegmentationSamples(Dataset[DenseSample]):
    """Images and their label maps, transformed.

    Args:
        source: Where they come from.
        transform: From an image and its label map to what a segmenter takes.
        seed: The run's seed.
    """

    def __init__(self, source: LabeledImages, transform: SegmentTransform, seed: int = 0) -> None:
        self.source, self.transform, self.seed = source, transform, seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, draw: Draw) -> DenseSample:
        epoch, index = draw
        image = self.source.load(index)
        labels = self.source.target(index, image.size)
        with seeded(derive(self.seed, epoch, index)):
            return DenseSample(*self.transform(image, labels), index)


def collate(samples: Sequence[DenseSample]) -> DenseBatch:
    """A batch of samples, whatever their sizes."""
    images, targets, positions = zip(*samples, strict=True)
    return DenseBatch(list(images), list(targets), torch.tensor(positions))

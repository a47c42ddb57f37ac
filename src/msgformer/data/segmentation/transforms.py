"""Transforms from an image and its label map to a segmenter's input, based on torchvision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from msgformer.config.dense_data_options import SegmentImageOptions
from msgformer.data.detection.transforms import to_tensor
from msgformer.data.loading.color_mix import mix_colors
from msgformer.data.segmentation.label_scheme import IGNORED

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

SegmentTransform = Callable[["Image.Image", "Tensor"], tuple["Tensor", "Tensor"]]
"""Function from an RGB image and its label map [H, W] to a normalized tensor [3, h, w] and a label map, int64."""

CROP_TRIES = 10
"""Maximum number of random crops to try for one with varied classes."""


class SegmentTrain:
    """Training transform: random resize, crop, flip, color jitter and padding, as MMSegmentation does for ADE20K.

    Random numbers come from torch's global generator.

    Args:
        options: Image options.
        mean: Mean of each channel, for pixels in 0..1.
        std: Standard deviation of each channel, for pixels in 0..1.
        ignored: Label of pixels without a class.
    """

    def __init__(
        self, options: SegmentImageOptions, mean: Sequence[float], std: Sequence[float], ignored: int = IGNORED
    ) -> None:
        self.options, self.ignored = options, ignored
        self.mean, self.std = list(mean), list(std)
        # In sequence, each with probability 0.5; hue changes by at most 18 degrees.
        changes = ({"brightness": 32 / 255}, {"contrast": 0.5}, {"saturation": 0.5}, {"hue": 0.05})
        jitters: list[Any] = [v2.RandomApply([v2.ColorJitter(**change)]) for change in changes]
        self.jitter = v2.Compose(jitters) if options.photometric else v2.Identity()
        self.flip = v2.RandomHorizontalFlip(options.hflip)

    def __call__(self, image: Image.Image, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return an image [3, crop, crop] and its label map, as of :data:`SegmentTransform`."""
        low, high = self.options.scale
        factor = float(torch.empty(()).uniform_(low, high))
        size = scaled_size((image.height, image.width), self.options, factor)
        image = F.resize(image, size)
        labels = F.resize(labels, size, InterpolationMode.NEAREST)
        image, labels = self.crop(image, labels)
        image, labels = self.flip(self.jitter(image), labels)
        side = self.options.crop
        pixels = to_tensor(image)
        if self.options.color_mix > 0:
            pixels = mix_colors(pixels, self.options.color_mix)
        tensor = F.normalize(pixels, self.mean, self.std)
        missing = [0, 0, side - tensor.shape[2], side - tensor.shape[1]]  # left, top, right, bottom
        padded = F.pad(labels.as_subclass(torch.Tensor)[None], missing, fill=self.ignored)[0]
        return F.pad(tensor, missing, fill=0), padded.long()

    def crop(self, image: Image.Image, labels: Tensor) -> tuple[Image.Image, Tensor]:
        """Crop a random square, clipped to the image; prefer one that no single class dominates.

        Args:
            image: The image.
            labels: Label map [H, W].
        """
        height, width = labels.shape
        rows, cols = min(height, self.options.crop), min(width, self.options.crop)
        classes = labels.numpy()
        for _ in range(CROP_TRIES):
            top, left = (int(torch.randint(room + 1, ())) for room in (height - rows, width - cols))
            crop = classes[top : top + rows, left : left + cols]
            if _is_varied(crop[crop != self.ignored], self.options.cat_max_ratio):
                break
        return F.crop(image, top, left, rows, cols), F.crop(labels, top, left, rows, cols)


class SegmentEval:
    """Evaluation transform: resize the image, but not the label map; not random.

    Args:
        options: Image options.
        mean: Mean of each channel, for pixels in 0..1.
        std: Standard deviation of each channel, for pixels in 0..1.
    """

    def __init__(self, options: SegmentImageOptions, mean: Sequence[float], std: Sequence[float]) -> None:
        self.options = options
        self.mean, self.std = list(mean), list(std)

    def __call__(self, image: Image.Image, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return an image [3, h, w] and its label map [H, W], as of :data:`SegmentTransform`."""
        return self.image(image), labels.as_subclass(torch.Tensor).long()

    def image(self, image: Image.Image, factor: float = 1.0) -> Tensor:
        """Transform an image without a label map.

        Args:
            image: The image.
            factor: Factor on the evaluation size.
        """
        return self.resize(image, scaled_size((image.height, image.width), self.options, factor))

    def resize(self, image: Image.Image, size: Sequence[int]) -> Tensor:
        """Resize and normalize an image.

        Args:
            image: The image.
            size: Height and width.
        """
        normalized: Tensor = F.normalize(to_tensor(F.resize(image, list(size))), self.mean, self.std)
        return normalized


class SegmentViews(SegmentEval):
    """Evaluation transform at several sizes, for averaging predictions over them.

    Args:
        options: Image options.
        mean: Mean of each channel, for pixels in 0..1.
        std: Standard deviation of each channel, for pixels in 0..1.
        factors: Factors on the evaluation size.
    """

    def __init__(
        self, options: SegmentImageOptions, mean: Sequence[float], std: Sequence[float], factors: Sequence[float]
    ) -> None:
        super().__init__(options, mean, std)
        self.factors = tuple(factors)

    def __call__(self, image: Image.Image, labels: Tensor) -> tuple[list[Tensor], Tensor]:  # type: ignore[override]
        """Return images [3, h, w] of all sizes, and the label map [H, W]."""
        views = [self.image(image, factor) for factor in self.factors]
        return views, labels.as_subclass(torch.Tensor).long()


def scaled_size(size: tuple[int, int], options: SegmentImageOptions, factor: float) -> list[int]:
    """Return the largest height and width with the image's aspect ratio within the scaled side limits.

    Args:
        size: Height and width of the image.
        options: Options with the limits ``short_side`` and ``long_side``.
        factor: Factor on both limits.
    """
    scale = factor * min(options.short_side / min(size), options.long_side / max(size))
    return [max(1, int(side * scale + 0.5)) for side in size]


def _is_varied(labels: np.ndarray, max_ratio: float) -> bool:
    """Return whether there are several classes in labels [N], and none has more than a fraction of them."""
    counts = np.bincount(labels)
    return bool(np.count_nonzero(counts) > 1 and counts.max() < max_ratio * len(labels))

"""From an image and its objects to a detector's input, by torchvision's transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F
from torchvision.transforms.v2 import query_size

from msgformer.config.dense_data_options import DetectImageOptions
from msgformer.data.loading.color_mix import mix_colors

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

Target = dict[str, "Tensor"]
DetectTransform = Callable[["Image.Image", Target], tuple["Tensor", Target]]
"""An RGB image and its ``boxes``, ``labels`` and perhaps ``masks`` to a tensor [3, H, W], 0..1, and the same."""

MIN_SIDE = 1.0
"""Pixels that a box must keep in both directions after a crop."""


class RandomSidesCrop(v2.Transform):
    """A crop whose height and width are drawn apart from a range, at a random place.

    Args:
        min_length: Minimum length of a side; a shorter image keeps its full length.
        max_length: Maximum length of a side.
    """

    def __init__(self, min_length: int, max_length: int) -> None:
        super().__init__()
        self.min_length, self.max_length = min_length, max_length

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Where to crop."""
        sides = query_size(flat_inputs)
        lengths = [_draw(min(side, self.min_length), min(side, self.max_length)) for side in sides]
        starts = [_draw(0, side - length) for side, length in zip(sides, lengths, strict=True)]
        return {"top": starts[0], "left": starts[1], "height": lengths[0], "width": lengths[1]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Crop an image, boxes or masks."""
        return self._call_kernel(F.crop, inpt, **params)


def detect_train_transform(options: DetectImageOptions) -> DetectTransform:
    """Flip, half of the time resize and crop, resize: Swin's and DETR's policy.

    Randomness is drawn from torch's global generator.
    """
    resize = v2.RandomShortestSize(list(options.train_sides), options.max_side)
    crop = [v2.RandomShortestSize(list(options.crop_resize)), RandomSidesCrop(*options.crop_sides)]
    stages: list[Any] = [v2.RandomHorizontalFlip(options.hflip)]
    if options.crop > 0:
        stages.append(v2.RandomApply(crop, options.crop))
    if options.color_jitter > 0:
        stages.append(v2.ColorJitter(*[options.color_jitter] * 3))
    pipeline = v2.Compose([*stages, resize])

    def transform(image: Image.Image, target: Target) -> tuple[Tensor, Target]:
        augmented, moved = pipeline(image, target)
        pixels = to_tensor(augmented)
        mixed = mix_colors(pixels, options.color_mix) if options.color_mix > 0 else pixels
        return mixed, _drop_cropped(moved)

    return transform


def detect_eval_transform(image: Image.Image, target: Target) -> tuple[Tensor, Target]:
    """The image as a tensor, nothing random; the detector itself resizes in evaluation."""
    return to_tensor(image), _drop_cropped(target)


def to_tensor(image: Image.Image) -> Tensor:
    """An image as float tensor [3, H, W], 0..1."""
    return F.to_dtype(F.to_image(image), torch.float32, scale=True).as_subclass(torch.Tensor)


def _drop_cropped(target: Target) -> Target:
    """The objects whose boxes are still in the image, as plain tensors."""
    boxes = target["boxes"]
    kept = (boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE).all(1)
    return {name: value.as_subclass(torch.Tensor)[kept] for name, value in target.items()}


def _draw(low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, ()))

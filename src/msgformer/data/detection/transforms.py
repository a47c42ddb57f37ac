"""Transforms from an image and its objects to a detector's input, based on torchvision."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

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


class DetectTransform(Protocol):
    """Transform of an image and its objects to a detector's input and targets."""

    def __call__(
        self, image: Image.Image, target: Target, masks: Iterable[Tensor] | None = None
    ) -> tuple[Tensor, Target]:
        """Transform a sample.

        Args:
            image: RGB image.
            target: Its ``boxes`` [G, 4], ``labels`` [G] and optional ``masks`` [G, H, W].
            masks: The masks in chunks [g, H, W], of which only one is in memory at a time, instead of ``masks``.

        Returns:
            Tensor in 0..1, [3, H, W], and the transformed targets.
        """


MIN_SIDE = 1.0
"""Minimum side of a box in pixels; smaller boxes are dropped."""


class RandomSidesCrop(v2.Transform):
    """Crop at a random position, with height and width drawn independently from a range.

    Args:
        min_length: Minimum length of a side; a shorter image keeps its full length.
        max_length: Maximum length of a side.
    """

    def __init__(self, min_length: int, max_length: int) -> None:
        super().__init__()
        self.min_length, self.max_length = min_length, max_length

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the position and size of the crop."""
        sides = query_size(flat_inputs)
        lengths = [_draw(min(side, self.min_length), min(side, self.max_length)) for side in sides]
        starts = [_draw(0, side - length) for side, length in zip(sides, lengths, strict=True)]
        return {"top": starts[0], "left": starts[1], "height": lengths[0], "width": lengths[1]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Crop an image, boxes or masks.

        Args:
            inpt: The image, boxes or masks.
            params: Position and size from `make_params`.
        """
        return F.crop(inpt, **params)


def detect_train_transform(options: DetectImageOptions) -> DetectTransform:
    """Create the training transform of Swin and DETR: flip, resize and crop with probability 0.5, resize.

    With ``tile``, images are cropped to a tile instead of resized and cropped.

    Random numbers come from torch's global generator.
    """
    resize = v2.RandomShortestSize(list(options.train_sides), options.max_side)
    crop = [v2.RandomShortestSize(list(options.crop_resize)), RandomSidesCrop(*options.crop_sides)]
    stages: list[Any] = [v2.RandomHorizontalFlip(options.hflip)]
    if options.tile is None and options.crop > 0:
        stages.append(v2.RandomApply(crop, options.crop))
    if options.color_jitter > 0:
        stages.append(v2.ColorJitter(*[options.color_jitter] * 3))
    fit = resize if options.tile is None else RandomSidesCrop(options.tile, options.tile)
    pipeline = v2.Compose([*stages, fit])

    def transform(image: Image.Image, target: Target, masks: Iterable[Tensor] | None = None) -> tuple[Tensor, Target]:
        state = torch.get_rng_state()
        augmented, moved = pipeline(image, target)
        if masks is not None:
            moved["masks"] = torch.cat([_repeat(pipeline, state, chunk) for chunk in masks])
        pixels = to_tensor(augmented)
        mixed = mix_colors(pixels, options.color_mix) if options.color_mix > 0 else pixels
        return mixed, _drop_small(moved)

    return transform


def detect_eval_transform(
    image: Image.Image, target: Target, masks: Iterable[Tensor] | None = None
) -> tuple[Tensor, Target]:
    """Convert an image to a tensor without augmentation; the detector itself resizes it.

    Args:
        image: The image.
        target: Its ``boxes``, ``labels`` and optional ``masks``.
        masks: The masks in chunks, instead of ``masks``.
    """
    if masks is not None:
        target = {**target, "masks": torch.cat([*masks])}
    return to_tensor(image), _drop_small(target)


def to_tensor(image: Image.Image) -> Tensor:
    """Convert an image to a float tensor in 0..1, [3, H, W]."""
    tensor: Tensor = F.to_dtype(F.to_image(image), torch.float32, scale=True)
    return tensor.as_subclass(torch.Tensor)


def _repeat(pipeline: v2.Transform, state: Tensor, masks: Tensor) -> Tensor:
    """Transform masks [g, H, W] with the random numbers that the pipeline drew from a state of the generator."""
    torch.set_rng_state(state)
    moved: Tensor = pipeline(masks)
    return moved


def _drop_small(target: Target) -> Target:
    """Drop the objects with a side below `MIN_SIDE`, such as those that a crop left out, and return plain tensors."""
    boxes = target["boxes"]
    large = (boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE).all(1)
    return {name: value.as_subclass(torch.Tensor)[large] for name, value in target.items()}


def _draw(low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, ()))

"""Conversion of images to inputs of a model's backbone, for explanations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from msgformer.config.training_options import Progress
from msgformer.heads.backbone import STRIDES

Size = tuple[int, int]


@dataclass(frozen=True)
class ExplainOptions:
    """Options of `msgformer.explain`, which documents them."""

    img_size: int | Size | None = None
    whole: bool = False
    blocks: Sequence[str] | None = None
    each_head: bool = False
    gradients: int = 4
    device: str = "auto"
    progress: Progress = "auto"


@dataclass(frozen=True)
class View:
    """An image as the input of a model's backbone.

    Attributes:
        inputs: Normalized image [1, C, H, W], padded at the bottom and the right.
        image: The image without the padding, in RGB.
    """

    inputs: Tensor
    image: Image.Image


def make_view(inputs: Tensor, mean: Sequence[float], std: Sequence[float], *, pad: bool = False) -> View:
    """Build the view of a normalized image.

    Args:
        inputs: The normalized image [C, h, w].
        mean: Mean per channel of the normalization.
        std: Standard deviation per channel, likewise.
        pad: Whether to pad to a multiple of the last stage's stride, as detectors and segmenters do.
    """
    shift, scale = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
    pixels = (255 * (inputs * scale + shift)).round().clamp(0, 255).byte().expand(3, -1, -1)
    image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    height, width = inputs.shape[-2:]
    padding = (0, -width % STRIDES[-1], 0, -height % STRIDES[-1]) if pad else (0, 0, 0, 0)
    return View(F.pad(inputs, padding).unsqueeze(0), image)


def fitted_sides(image: Image.Image, wanted: int | Size) -> Size:
    """Return the height and width to resize an image to.

    Args:
        image: The image.
        wanted: Height and width, or the shorter side, which is scaled with the aspect ratio of the image.
    """
    if not isinstance(wanted, int):
        return wanted[0], wanted[1]
    scale = wanted / min(image.size)
    return max(1, round(image.height * scale)), max(1, round(image.width * scale))

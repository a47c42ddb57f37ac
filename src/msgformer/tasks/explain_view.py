"""Images as the backbone of a model sees them, for explanations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from msgformer.dense.backbone import STRIDES
from msgformer.training.options import Progress

Size = tuple[int, int]


@dataclass(frozen=True)
class ExplainOptions:
    """What the user wants; see `msgformer.explain`."""

    img_size: int | Size | None = None
    whole: bool = False
    blocks: Sequence[str] | None = None
    each_head: bool = False
    gradients: int = 4
    device: str = "auto"
    progress: Progress = "auto"


@dataclass(frozen=True)
class View:
    """An image as the backbone of a model sees it.

    Attributes:
        image: [1, channels, H, W], normalized, and padded at the bottom and the right.
        picture: The part that isn't padding, in RGB.
    """

    image: Tensor
    picture: Image.Image


def make_view(image: Tensor, mean: Sequence[float], std: Sequence[float], *, pad: bool = False) -> View:
    """Return a normalized image as a view.

    Args:
        image: [channels, h, w].
        mean: Mean by channel that it was normalized with.
        std: Standard deviation, likewise.
        pad: Pad to whole tokens of the last stage, as detectors and segmenters do.
    """
    shift, scale = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
    pixels = (255 * (image * scale + shift)).round().clamp(0, 255).byte().expand(3, -1, -1)
    picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    height, width = image.shape[-2:]
    padding = (0, -width % STRIDES[-1], 0, -height % STRIDES[-1]) if pad else (0, 0, 0, 0)
    return View(F.pad(image, padding).unsqueeze(0), picture)


def fitted_sides(picture: Image.Image, wanted: int | Size) -> Size:
    """Return height and width: those wanted, or with the shorter side wanted and the image's shape.

    Args:
        picture: The image.
        wanted: Length of the shorter side, or height and width.
    """
    if not isinstance(wanted, int):
        return wanted[0], wanted[1]
    scale = wanted / min(picture.size)
    return max(1, round(picture.height * scale)), max(1, round(picture.width * scale))

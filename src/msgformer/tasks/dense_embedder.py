"""The pooled last map of a backbone."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from msgformer.dense.backbone import STRIDES


def pool_last_map(backbone: Any, images: Tensor, size: tuple[int, int]) -> Tensor:
    """Average the backbone's last map over the tokens that show the image.

    Args:
        backbone: From images to maps of strides 4 to 32.
        images: Normalized and padded images [1, 3, H, W].
        size: Height and width of the image without the padding.

    Returns:
        [1, D].
    """
    last = list(backbone(images))[-1]
    height, width = (-(-side // STRIDES[-1]) for side in size)
    return last[..., :height, :width].mean((2, 3))

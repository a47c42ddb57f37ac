"""Random mixing of the color channels: an image keeps its shapes, and its colors tell nothing any more."""

from __future__ import annotations

import torch
from torch import Tensor

CENTER = 0.5
"""The gray that contrast grows and shrinks around, and that inversion leaves."""


def mix_colors(image: Tensor, strength: float) -> Tensor:
    """Colors by a random 3 x 3 matrix near the identity, inverted half of the time, and shifted.

    Where few photographs are behind many training images, a network learns these by heart, color by color; after
    this it has to look at shapes. The outcome may leave 0..1, so that nothing is lost at the ends.

    Args:
        image: Image [3, H, W], 0..1.
        strength: Standard deviation of the matrix's entries; contrast and brightness vary in proportion.

    Returns:
        Image [3, H, W]. Randomness is drawn from torch's global generator.
    """
    matrix = torch.eye(3) + strength * torch.randn(3, 3)
    contrast = torch.exp(0.75 * strength * torch.randn(())) * (1 - 2 * torch.randint(2, ()))
    shift = 0.2 * strength * torch.randn(3)
    return (contrast * matrix @ (image.flatten(1) - CENTER) + (CENTER + shift)[:, None]).view_as(image)

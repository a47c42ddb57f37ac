"""Random mixing of the color channels, an augmentation that keeps shapes and makes colors uninformative."""

from __future__ import annotations

import torch
from torch import Tensor

CENTER = 0.5
"""Gray level that contrast and inversion leave unchanged."""


def mix_colors(image: Tensor, strength: float) -> Tensor:
    """Multiply the colors by a random 3 x 3 matrix near the identity, invert them with probability 0.5, and shift them.

    This keeps a network from memorizing colors where many training images are made of few photographs. The result is
    not clipped to 0..1. Random numbers come from torch's global generator.

    Args:
        image: Image in 0..1, [3, H, W].
        strength: Standard deviation of the entries of the matrix; contrast and brightness vary in proportion.

    Returns:
        Image [3, H, W].
    """
    matrix = torch.eye(3) + strength * torch.randn(3, 3)
    contrast = torch.exp(0.75 * strength * torch.randn(())) * (1 - 2 * torch.randint(2, ()))
    shift = 0.2 * strength * torch.randn(3)
    return (contrast * matrix @ (image.flatten(1) - CENTER) + (CENTER + shift)[:, None]).view_as(image)

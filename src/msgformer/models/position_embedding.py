"""Absolute position embedding of SG-Former: sines and cosines, resampled to the size of the map."""

from __future__ import annotations

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor

from msgformer.kernels.graph_capture import are_fixed
from msgformer.models.window import Size, map_size


def position_map(embedding: Tensor, size: Size, target: Size) -> Tensor:
    """Arrange a position embedding as a map, resampled to another size.

    Args:
        embedding: The embedding [1, H * W, C].
        size: Its height H and width W.
        target: Height H' and width W' of the result.

    Returns:
        Embedding [1, H', W', C].
    """
    return _resample(embedding.unflatten(1, size), target)


@torch.fx.wrap
def _resample(grid: Tensor, size: Size) -> Tensor:
    """Resample a map [1, H, W, C] to [1, H', W', C]; opaque to torch.fx, because it branches on the size."""
    # Graphs for several sizes resample even to the same size, which changes nothing.
    if are_fixed(*size) and tuple(size) == map_size(grid):
        return grid
    return F.interpolate(grid.permute(0, 3, 1, 2), size, mode="bicubic").permute(0, 2, 3, 1)

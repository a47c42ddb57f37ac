"""Maps of tokens cut into windows, with a messenger in front of each: what both model families need.

A map is [B, H, W, C]; its windows of h x w tokens form a grid of nH x nW, nH = ceil(H / h), nW = ceil(W / w).
Where the map is no multiple of the window, zeros fill the last row and column of windows at the bottom and at
the right. Every size is read from the tensor at hand, and none decides a branch while a graph is being
captured, so that one compiled or exported graph serves all sizes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


def window_grid(size: Size, window: Size) -> Size:
    """Rows and columns of windows that cover a map of ``size`` tokens."""
    return -(-size[0] // window[0]), -(-size[1] // window[1])


def map_size(x: Tensor) -> Size:
    """Height and width of a map [B, H, W, C]."""
    return x.shape[1], x.shape[2]


def pad_to_multiple(x: Tensor, multiple: Size) -> Tensor:
    """Zeros at the bottom and at the right until both sides are multiples.

    Args:
        x: [B, H, W, C]
        multiple: What H and W have to become multiples of.

    Returns:
        [B, ceil(H / h) * h, ceil(W / w) * w, C]
    """
    height, width = x.shape[1:3]
    rows, cols = window_grid((height, width), multiple)
    full = (rows * multiple[0], cols * multiple[1])
    if not torch.compiler.is_compiling():
        missing = (full[0] - height, full[1] - width)
        return F.pad(x, (0, 0, 0, missing[1], 0, missing[0])) if any(missing) else x
    # A constant padding that is cropped again: a padding that depends on the size would be guarded, and every
    # combination of padded and unpadded stages would become a graph of its own.
    x = F.pad(x, (0, 0, 0, multiple[1] - 1, 0, multiple[0] - 1))
    return x[:, : full[0], : full[1]]


def to_windows(x: Tensor, window: Size) -> Tensor:
    """Cuts a map into windows.

    Args:
        x: [B, H, W, C]
        window: Height h and width w of a window.

    Returns:
        [B, nH, nW, h * w, C], tokens of a window in raster order.
    """
    x = pad_to_multiple(x, window)
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // window[0], window[0], width // window[1], window[1], channels)
    return x.transpose(2, 3).flatten(3, 4)


def from_windows(x: Tensor, window: Size, size: Size) -> Tensor:
    """Lays windows back to a map and crops what ``to_windows`` padded.

    Args:
        x: [B, nH, nW, h * w, C]
        window: Height h and width w of a window.
        size: Height H and width W of the map.

    Returns:
        [B, H, W, C]
    """
    batch, rows, cols, _, channels = x.shape
    x = x.unflatten(3, window).transpose(2, 3)  # [B, nH, h, nW, w, C]
    x = x.reshape(batch, rows * window[0], cols * window[1], channels)
    return x[:, : size[0], : size[1]]


def to_sequences(patches: Tensor, messengers: Tensor, window: Size) -> Tensor:
    """Windows of patch tokens with their messenger in front (equation 1 of the MSG-Transformer paper).

    Args:
        patches: [B, H, W, C]
        messengers: [B, nH, nW, C]
        window: Height h and width w of a window.

    Returns:
        [B, nH, nW, 1 + h * w, C]
    """
    return torch.cat([messengers.unsqueeze(3), to_windows(patches, window)], dim=3)


def from_sequences(x: Tensor, window: Size, size: Size) -> tuple[Tensor, Tensor]:
    """The inverse of ``to_sequences``: patches [B, H, W, C] and messengers [B, nH, nW, C]."""
    return from_windows(x[..., 1:, :], window, size), x[..., 0, :]

"""Maps of tokens cut into windows, with a messenger in front of each: what both model families need.

A map is [B, H, W, C]; its windows of h x w tokens form a grid of nH x nW, nH = ceil(H / h), nW = ceil(W / w).
Where the map is no multiple of the window, zeros fill the last row and column of windows at the bottom and at
the right. MindSpore compiles a graph for each size, so that here all sizes are numbers.
"""

from __future__ import annotations

from functools import lru_cache

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

Size = tuple[int, int]
Grid = tuple[int, int, int]
"""Sizes of a batch of maps: B images of height x width tokens or windows."""


def to_2tuple(side: int | Size) -> Size:
    """Height and width of what is given by both, or as the side of a square."""
    return (side, side) if isinstance(side, int) else (side[0], side[1])


def map_grid(x: Tensor) -> Grid:
    """Sizes of a map [B, H, W, C]."""
    return x.shape[0], x.shape[1], x.shape[2]


def map_size(x: Tensor) -> Size:
    """Height and width of a map [B, H, W, C]."""
    return x.shape[1], x.shape[2]


def window_grid(size: Size, window: Size) -> Size:
    """Rows and columns of windows that cover a map of ``size`` tokens."""
    return (size[0] + window[0] - 1) // window[0], (size[1] + window[1] - 1) // window[1]


def to_rows(x: Tensor) -> Tensor:
    """Tokens of a batch of maps [B, H, W, C] as rows [B * H * W, C]."""
    return x.reshape(-1, x.shape[-1])


def to_map(x: Tensor, grid: Grid) -> Tensor:
    """Rows [B * H * W, C] as a batch of maps [B, H, W, C]."""
    return x.reshape(grid[0], grid[1], grid[2], x.shape[-1])


def pad_to_multiple(x: Tensor, multiple: Size) -> Tensor:
    """Zeros at the bottom and at the right until both sides are multiples.

    Args:
        x: [B, H, W, C]
        multiple: What H and W have to become multiples of.

    Returns:
        [B, ceil(H / h) * h, ceil(W / w) * w, C]
    """
    height, width = map_size(x)
    rows, cols = window_grid((height, width), multiple)
    below, beside = rows * multiple[0] - height, cols * multiple[1] - width
    if below == 0 and beside == 0:
        return x
    return ops.pad(x, (0, 0, 0, beside, 0, below))


def gather_neighbors(x: Tensor, stride: int, side: int, padding: int) -> Tensor:
    """The tokens under each place of a strided kernel.

    Args:
        x: [B, H, W, C]
        stride: Tokens from one place to the next, s.
        side: The kernel is k x k.
        padding: Zeros at each border.

    Returns:
        [B, H', W', k * k * C], the tokens of a place in raster order.
    """
    if padding:
        x = ops.pad(x, (0, 0, padding, padding, padding, padding))
    batch, height, width, channels = x.shape
    rows, cols = (height - side) // stride + 1, (width - side) // stride + 1
    tokens = ops.gather(x.reshape(batch, height * width, channels), neighbours(height, width, stride, side), 1)
    return tokens.reshape(batch, rows, cols, side**2 * channels)


@ms.constexpr
def neighbours(height: int, width: int, stride: int, side: int) -> Tensor:
    """Raster indices of the tokens under each place of a strided kernel, [H' * W' * k * k]."""
    return Tensor(_neighbours(height, width, stride, side))


@lru_cache(maxsize=256)
def _neighbours(height: int, width: int, stride: int, side: int) -> np.ndarray:
    rows, cols = (height - side) // stride + 1, (width - side) // stride + 1
    place = np.arange(rows * cols * side**2)
    index, inside = place // side**2, place % side**2
    row, col = index // cols * stride + inside // side, index % cols * stride + inside % side
    return (row * width + col).astype(np.int32)


def to_windows(x: Tensor, window: Size) -> Tensor:
    """Cuts a map into windows.

    Args:
        x: [B, H, W, C]
        window: Height h and width w of a window.

    Returns:
        [B * nH * nW, h * w, C], windows and the tokens of each in raster order.
    """
    rows, cols = window_grid(map_size(x), window)
    batch, channels = x.shape[0], x.shape[3]
    x = pad_to_multiple(x, window).reshape(batch, rows, window[0], cols, window[1], channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch * rows * cols, window[0] * window[1], channels)


def from_windows(x: Tensor, window: Size, batch: int, size: Size) -> Tensor:
    """Lays windows back to a map and leaves out what `to_windows` padded.

    Args:
        x: [B * nH * nW, h * w, C]
        window: Height h and width w of a window.
        batch: Number of images B.
        size: Height H and width W of the map.

    Returns:
        [B, H, W, C]
    """
    rows, cols = window_grid(size, window)
    x = x.reshape(batch, rows, cols, window[0], window[1], x.shape[2]).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, rows * window[0], cols * window[1], x.shape[5])[:, : size[0], : size[1]]


def to_sequences(patches: Tensor, messengers: Tensor, window: Size) -> Tensor:
    """Windows of patch tokens with their messenger in front (equation 1 of the MSG-Transformer paper).

    Args:
        patches: [B, H, W, C]
        messengers: [B * nH * nW, C]
        window: Height h and width w of a window.

    Returns:
        [B * nH * nW, 1 + h * w, C]
    """
    return ops.cat((messengers.expand_dims(1), to_windows(patches, window)), 1)


def from_sequences(x: Tensor, window: Size, batch: int, size: Size) -> tuple[Tensor, Tensor]:
    """The inverse of `to_sequences`: patches [B, H, W, C] and messengers [B * nH * nW, C]."""
    return from_windows(x[:, 1:], window, batch, size), x[:, 0]

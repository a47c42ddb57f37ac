"""Maps of tokens partitioned into windows, with a messenger in front of each; used by both model families.

A map is [B, H, W, C]. Its windows of h x w tokens form a grid of nH x nW, nH = ceil(H / h), nW = ceil(W / w). Where the
map is not a multiple of the window, zeros fill the last row and column of windows at the bottom and right. MindSpore
compiles one graph per size, so all sizes are plain numbers.
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
    """Return height and width, given as both or as the side of a square."""
    return (side, side) if isinstance(side, int) else (side[0], side[1])


def map_grid(x: Tensor) -> Grid:
    """Sizes B, H and W of a map [B, H, W, C]."""
    return x.shape[0], x.shape[1], x.shape[2]


def map_size(x: Tensor) -> Size:
    """Height and width of a map [B, H, W, C]."""
    return x.shape[1], x.shape[2]


def window_grid(size: Size, window: Size) -> Size:
    """Count the windows that cover a map.

    Args:
        size: Height H and width W of the map.
        window: Height h and width w of a window.

    Returns:
        Rows nH and columns nW of windows.
    """
    return (size[0] + window[0] - 1) // window[0], (size[1] + window[1] - 1) // window[1]


def to_rows(x: Tensor) -> Tensor:
    """Flatten a batch of maps [B, H, W, C] to rows [B * H * W, C]."""
    return x.reshape(-1, x.shape[-1])


def to_map(x: Tensor, grid: Grid) -> Tensor:
    """Arrange rows as a batch of maps.

    Args:
        x: Rows [B * H * W, C].
        grid: Sizes B, H and W.

    Returns:
        Maps [B, H, W, C].
    """
    return x.reshape(grid[0], grid[1], grid[2], x.shape[-1])


def pad_to_multiple(x: Tensor, multiple: Size) -> Tensor:
    """Pad with zeros at the bottom and right until both sides are multiples.

    Args:
        x: Map [B, H, W, C].
        multiple: H and W become multiples of these two numbers h and w.

    Returns:
        Padded map [B, ceil(H / h) * h, ceil(W / w) * w, C].
    """
    height, width = map_size(x)
    rows, cols = window_grid((height, width), multiple)
    bottom, right = rows * multiple[0] - height, cols * multiple[1] - width
    if bottom == 0 and right == 0:
        return x
    return ops.pad(x, (0, 0, 0, right, 0, bottom))


def gather_neighbors(x: Tensor, stride: int, side: int, padding: int) -> Tensor:
    """Gather the tokens under each position of a strided kernel.

    Args:
        x: Map [B, H, W, C].
        stride: Stride of the kernel.
        side: Side k of the square kernel.
        padding: Zeros at each border.

    Returns:
        Tokens [B, H', W', k * k * C]; those of a position are in raster order.
    """
    if padding:
        x = ops.pad(x, (0, 0, padding, padding, padding, padding))
    batch, height, width, channels = x.shape
    rows, cols = (height - side) // stride + 1, (width - side) // stride + 1
    tokens = ops.gather(x.reshape(batch, height * width, channels), neighbor_index(height, width, stride, side), 1)
    return tokens.reshape(batch, rows, cols, side**2 * channels)


@ms.constexpr
def neighbor_index(height: int, width: int, stride: int, side: int) -> Tensor:
    """Raster indices of the tokens under each position of a strided kernel.

    Args:
        height: Height H of the map.
        width: Width W of the map.
        stride: Stride of the kernel.
        side: Side k of the square kernel.

    Returns:
        Index [H' * W' * k * k].
    """
    return Tensor(_neighbor_array(height, width, stride, side))


@lru_cache(maxsize=256)
def _neighbor_array(height: int, width: int, stride: int, side: int) -> np.ndarray:
    rows, cols = (height - side) // stride + 1, (width - side) // stride + 1
    place = np.arange(rows * cols * side**2)
    index, inside = place // side**2, place % side**2
    row, col = index // cols * stride + inside // side, index % cols * stride + inside % side
    return (row * width + col).astype(np.int32)


def to_windows(x: Tensor, window: Size) -> Tensor:
    """Partition a map into windows.

    Args:
        x: Map [B, H, W, C].
        window: Height h and width w of a window.

    Returns:
        Windows [B * nH * nW, h * w, C], windows and the tokens of each in raster order.
    """
    rows, cols = window_grid(map_size(x), window)
    batch, channels = x.shape[0], x.shape[3]
    x = pad_to_multiple(x, window).reshape(batch, rows, window[0], cols, window[1], channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch * rows * cols, window[0] * window[1], channels)


def from_windows(x: Tensor, window: Size, batch: int, size: Size) -> Tensor:
    """Merge windows back to a map and crop the padding of `to_windows`.

    Args:
        x: Windows [B * nH * nW, h * w, C].
        window: Height h and width w of a window.
        batch: Number of images B.
        size: Height H and width W of the map.

    Returns:
        Map [B, H, W, C].
    """
    rows, cols = window_grid(size, window)
    x = x.reshape(batch, rows, cols, window[0], window[1], x.shape[2]).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, rows * window[0], cols * window[1], x.shape[5])[:, : size[0], : size[1]]


def to_sequences(patches: Tensor, messengers: Tensor, window: Size) -> Tensor:
    """Join messengers and windows, X'_w = [T_MSG; X_w] (eq. 1 of the MSG-Transformer paper).

    Args:
        patches: Patch tokens [B, H, W, C].
        messengers: Messengers T_MSG [B * nH * nW, C].
        window: Height h and width w of a window.

    Returns:
        Window tokens X'_w [B * nH * nW, 1 + h * w, C].
    """
    return ops.cat((messengers.expand_dims(1), to_windows(patches, window)), 1)


def from_sequences(x: Tensor, window: Size, batch: int, size: Size) -> tuple[Tensor, Tensor]:
    """Invert `to_sequences`.

    Args:
        x: Window tokens X'_w [B * nH * nW, 1 + h * w, C].
        window: Height h and width w of a window.
        batch: Number of images B.
        size: Height H and width W of the map.

    Returns:
        Patch tokens [B, H, W, C] and messengers [B * nH * nW, C].
    """
    return from_windows(x[:, 1:], window, batch, size), x[:, 0]

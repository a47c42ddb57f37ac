"""Maps of tokens cut into windows, with a messenger in front of each: what both model families need.

A map is [B, H, W, C]; its windows of h x w tokens form a grid of nH x nW, nH = ceil(H / h), nW = ceil(W / w).
Where the map is no multiple of the window, zeros fill the last row and column of windows at the bottom and at
the right. Tokens are moved by computed indices: every size is read from the tensor at hand and none decides a
branch while a graph is captured, so that one compiled or exported graph serves all sizes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

Size = tuple[int, int]


class Grid(NamedTuple):
    """Sizes of a batch of maps: B images of height x width tokens or windows."""

    batch: int
    height: int
    width: int


def map_grid(x: Tensor) -> Grid:
    """Sizes of a map [B, H, W, C]."""
    return Grid(x.shape[0], x.shape[1], x.shape[2])


def map_size(x: Tensor) -> Size:
    """Height and width of a map [B, H, W, C]."""
    return x.shape[1], x.shape[2]


def window_grid(size: Size, window: Size) -> Size:
    """Rows and columns of windows that cover a map of ``size`` tokens."""
    return (size[0] + window[0] - 1) // window[0], (size[1] + window[1] - 1) // window[1]


def to_rows(x: Tensor) -> Tensor:
    """Tokens of a batch of maps [B, H, W, C] as rows [B * H * W, C]."""
    return x.flatten(0, 2)


def to_map(x: Tensor, grid: Grid) -> Tensor:
    """Rows [B * H * W, C] as a batch of maps [B, H, W, C]."""
    return x.unflatten(0, grid)


def take_tokens(x: Tensor, grid: Grid, row: Tensor, col: Tensor) -> Tensor:
    """Tokens of a map at given places; zeros where a place lies beyond its borders.

    Args:
        x: Tokens of all images in raster order, [B * H * W, C].
        grid: B, H and W.
        row: Rows of the places, [m].
        col: Their columns, [m].

    Returns:
        [B * m, C]
    """
    batch, height, width = grid
    tokens = take_rows(x, batch, row.clamp(0, height - 1) * width + col.clamp(0, width - 1))
    # A graph is captured with the zeros, whether this size needs them or not.
    if torch.compiler.is_compiling() or len(row) > height * width:
        outside = (row < 0) | (row >= height) | (col < 0) | (col >= width)
        tokens = tokens.masked_fill(outside.repeat(batch).unsqueeze(1), 0)
    return tokens


def take_rows(x: Tensor, batch: int, index: Tensor) -> Tensor:
    """The same rows of every image.

    Args:
        x: Rows of all images, [B * k, C].
        batch: Number of images B.
        index: Which of an image's k rows, [m].

    Returns:
        [B * m, C]
    """
    offset = torch.arange(batch, device=x.device) * (x.shape[0] // batch)
    # Not advanced indexing, whose gradient is several times slower on CPUs.
    return x.index_select(0, (offset.unsqueeze(1) + index).flatten())


def pad_to_multiple(x: Tensor, multiple: Size) -> Tensor:
    """Zeros at the bottom and at the right until both sides are multiples.

    Args:
        x: [B, H, W, C]
        multiple: What H and W have to become multiples of.

    Returns:
        [B, ceil(H / h) * h, ceil(W / w) * w, C]
    """
    rows, cols = window_grid(map_size(x), multiple)
    height, width = rows * multiple[0], cols * multiple[1]
    if not torch.compiler.is_compiling() and (height, width) == map_size(x):
        return x
    place = torch.arange(height * width, device=x.device)
    tokens = take_tokens(to_rows(x), map_grid(x), place // width, place % width)
    return to_map(tokens, Grid(x.shape[0], height, width))


def take_neighbours(x: Tensor, grid: Grid, stride: int, side: int, first: int = 0) -> Tensor:
    """The tokens under each place of a strided kernel; zeros beyond the borders.

    Args:
        x: Tokens of all images in raster order, [B * H * W, C].
        grid: B, H and W.
        stride: Tokens from one place to the next, s.
        side: The kernel is side x side.
        first: Row and column of the kernel's first token at the first place; -1 is a padding of 1.

    Returns:
        [B * ceil(H / s) * ceil(W / s), side * side, C], the tokens of a place in raster order.
    """
    rows, cols = window_grid((grid.height, grid.width), (stride, stride))
    place = torch.arange(rows * cols * side**2, device=x.device)
    index, inside = place // side**2, place % side**2
    row = index // cols * stride + inside // side + first
    col = index % cols * stride + inside % side + first
    return take_tokens(x, grid, row, col).unflatten(0, (-1, side**2))


def to_windows(x: Tensor, window: Size) -> Tensor:
    """Cuts a map into windows.

    Args:
        x: [B, H, W, C]
        window: Height h and width w of a window.

    Returns:
        [B * nH * nW, h * w, C], windows and the tokens of each in raster order.
    """
    rows, cols = window_grid(map_size(x), window)
    area = window[0] * window[1]
    place = torch.arange(rows * cols * area, device=x.device)
    index, inside = place // area, place % area  # of the window in the grid, and of the token in the window
    row = index // cols * window[0] + inside // window[1]
    col = index % cols * window[1] + inside % window[1]
    return take_tokens(to_rows(x), map_grid(x), row, col).unflatten(0, (-1, area))


def from_windows(x: Tensor, window: Size, batch: int, size: Size, skip: int = 0) -> Tensor:
    """Lays windows back to a map and leaves out what `to_windows` padded.

    Args:
        x: [B * nH * nW, skip + h * w, C]
        window: Height h and width w of a window.
        batch: Number of images B.
        size: Height H and width W of the map.
        skip: Tokens in front of each window that belong to no map.

    Returns:
        [B, H, W, C]
    """
    height, width = size
    _, cols = window_grid(size, window)
    place = torch.arange(height * width, device=x.device)
    row, col = place // width, place % width
    index = row // window[0] * cols + col // window[1]
    inside = row % window[0] * window[1] + col % window[1] + skip
    tokens = take_rows(x.flatten(0, 1), batch, index * x.shape[1] + inside)
    return to_map(tokens, Grid(batch, height, width))


def to_sequences(patches: Tensor, messengers: Tensor, window: Size) -> Tensor:
    """Windows of patch tokens with their messenger in front (equation 1 of the MSG-Transformer paper).

    Args:
        patches: [B, H, W, C]
        messengers: [B * nH * nW, C]
        window: Height h and width w of a window.

    Returns:
        [B * nH * nW, 1 + h * w, C]
    """
    return torch.cat([messengers.unsqueeze(1), to_windows(patches, window)], dim=1)


def from_sequences(x: Tensor, window: Size, batch: int, size: Size) -> tuple[Tensor, Tensor]:
    """The inverse of `to_sequences`: patches [B, H, W, C] and messengers [B * nH * nW, C]."""
    return from_windows(x, window, batch, size, skip=1), x[:, 0]

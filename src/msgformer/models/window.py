"""Maps of tokens cut into windows, with a messenger in front of each: what both model families need.

A map is [B, H, W, C]; its windows of h x w tokens form a grid of nH x nW, nH = ceil(H / h), nW = ceil(W / w).
Where the map is no multiple of the window, zeros fill the last row and column of windows at the bottom and at
the right. Tokens are moved by computed indices: every size is read from the tensor at hand and none decides a
branch while a graph is captured, so that one compiled or exported graph serves all sizes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.fx
from torch import Tensor

from msgformer.kernels.index_cache import keep_by_size

Size = tuple[int, int]


class Grid(NamedTuple):
    """Sizes of a batch of maps: B images of height x width tokens or windows."""

    batch: int
    height: int
    width: int


def are_fixed(*sizes: int) -> bool:
    """Whether sizes are numbers that code may decide by: not in a graph that is captured for many of them."""
    if not torch.compiler.is_compiling():
        return True
    return not torch.compiler.is_dynamo_compiling() and all(type(size) is int for size in sizes)


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


class Places(NamedTuple):
    """Where tokens are taken from.

    Attributes:
        row: Rows of a batch of maps [B * H * W, C], [m].
        outside: Whether a place lies beyond the borders of its map, [m, 1]; None if none does.
    """

    row: Tensor
    outside: Tensor | None

    def take(self, x: Tensor) -> Tensor:
        """Those tokens of maps [B * H * W, C], zeros where a place lies beyond the borders: [m, C]."""
        tokens = x.index_select(0, self.row)  # not advanced indexing, whose gradient is several times slower on CPUs
        return tokens if self.outside is None else tokens.masked_fill(self.outside, 0)


def row_and_column(index: Tensor, width: int | Tensor) -> tuple[Tensor, Tensor]:
    """Split raster indices of a map that is ``width`` tokens wide into rows and columns."""
    row = index // width
    # torch's ONNX exporter can't translate a remainder by a dynamic size; Inductor can't simplify any other form of it.
    return row, index - row * width if torch.onnx.is_in_onnx_export() else index % width


def find_places(grid: Grid, row: Tensor, col: Tensor) -> Places:
    """The same places in every map of a batch.

    Args:
        grid: B, H and W.
        row: Rows of the places, [m].
        col: Their columns, [m].

    Returns:
        B * m places.
    """
    batch, height, width = grid
    nearest = rows_of_all(row.clamp(0, height - 1) * width + col.clamp(0, width - 1), batch, height * width)
    # A graph for many sizes has the zeros, whether one of them needs them or not.
    if are_fixed(len(row), height, width) and len(row) <= height * width:
        return Places(nearest, None)
    outside = (row < 0) | (row >= height) | (col < 0) | (col >= width)
    return Places(nearest, outside.repeat(batch).unsqueeze(1))


@torch.fx.wrap
def rows_of_all(index: Tensor, batch: int, per_image: int) -> Tensor:
    """Rows [m] of one image, in a batch of images of so many rows each: [B * m]."""
    offset = torch.arange(batch, device=index.device) * per_image
    return (offset.unsqueeze(1) + index).flatten()


def take_rows(x: Tensor, batch: int, index: Tensor) -> Tensor:
    """The same rows of every image.

    Args:
        x: Rows of all images, [B * k, C].
        batch: Number of images B.
        index: Which of an image's k rows, [m].

    Returns:
        [B * m, C]
    """
    return x.index_select(0, rows_of_all(index, batch, x.shape[0] // batch))


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
    places = padded_places(map_grid(x), (height, width), x.device)
    return to_map(places.take(to_rows(x)), Grid(x.shape[0], height, width))


@torch.fx.wrap
@keep_by_size
def padded_places(grid: Grid, size: Size, device: torch.device) -> Places:
    """Every place of a larger map in a smaller one, in raster order."""
    place = torch.arange(size[0] * size[1], device=device)
    return find_places(grid, *row_and_column(place, size[1]))


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
    return neighbour_places(grid, stride, side, first, x.device).take(x).unflatten(0, (-1, side**2))


@torch.fx.wrap
@keep_by_size
def neighbour_places(grid: Grid, stride: int, side: int, first: int, device: torch.device) -> Places:
    """The places of `take_neighbours`."""
    rows, cols = window_grid((grid.height, grid.width), (stride, stride))
    place = torch.arange(rows * cols * side**2, device=device)
    index, inside = place // side**2, place % side**2
    row, col = row_and_column(index, cols)
    row, col = row * stride + inside // side + first, col * stride + inside % side + first
    return find_places(grid, row, col)


def to_windows(x: Tensor, window: Size) -> Tensor:
    """Cuts a map into windows.

    Args:
        x: [B, H, W, C]
        window: Height h and width w of a window.

    Returns:
        [B * nH * nW, h * w, C], windows and the tokens of each in raster order.
    """
    tokens = window_places(map_grid(x), window, x.device).take(to_rows(x))
    return tokens.unflatten(0, (-1, window[0] * window[1]))


@torch.fx.wrap
@keep_by_size
def window_places(grid: Grid, window: Size, device: torch.device) -> Places:
    """The places of `to_windows`."""
    rows, cols = window_grid((grid.height, grid.width), window)
    area = window[0] * window[1]
    place = torch.arange(rows * cols * area, device=device)
    index, inside = place // area, place % area  # of the window in the grid, and of the token in the window
    row, col = row_and_column(index, cols)
    row, col = row * window[0] + inside // window[1], col * window[1] + inside % window[1]
    return find_places(grid, row, col)


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
    grid = Grid(batch, *size)
    return to_map(x.flatten(0, 1).index_select(0, places_in_windows(grid, window, skip, x.device)), grid)


@torch.fx.wrap
@keep_by_size
def places_in_windows(grid: Grid, window: Size, skip: int, device: torch.device) -> Tensor:
    """Where the tokens of maps stand in windows with ``skip`` tokens in front of each: [B * H * W]."""
    batch, height, width = grid
    rows, cols = window_grid((height, width), window)
    area = skip + window[0] * window[1]
    place = torch.arange(height * width, device=device)
    row, col = row_and_column(place, width)
    index = row // window[0] * cols + col // window[1]
    inside = row % window[0] * window[1] + col % window[1] + skip
    return rows_of_all(index * area + inside, batch, rows * cols * area)


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
    messengers = x[:, 0]  # first: a traced stage is named after its last operation, which has to be the map
    return from_windows(x, window, batch, size, skip=1), messengers

"""Maps of tokens partitioned into windows, with a messenger in front of each; used by both model families.

A map is [B, H, W, C]. Its windows of h x w tokens form a grid of nH x nW, nH = ceil(H / h), nW = ceil(W / w). Where the
map is not a multiple of the window, zeros fill the last row and column of windows at the bottom and right. Tokens are
moved by computed indices. Every size is read from the tensor, and no size decides a branch while a graph is captured,
so one compiled or exported graph supports all sizes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.fx
from torch import Tensor

from msgformer.kernels.graph_capture import are_fixed, is_captured
from msgformer.kernels.index_cache import cache_by_shape

Size = tuple[int, int]


class Grid(NamedTuple):
    """Sizes of a batch of maps: B images of height x width tokens or windows."""

    batch: int
    height: int
    width: int


def map_grid(x: Tensor) -> Grid:
    """Sizes B, H and W of a map [B, H, W, C]."""
    return Grid(x.shape[0], x.shape[1], x.shape[2])


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
    return x.flatten(0, 2)


def to_map(x: Tensor, grid: Grid) -> Tensor:
    """Arrange rows as a batch of maps.

    Args:
        x: Rows [B * H * W, C].
        grid: Sizes B, H and W.

    Returns:
        Maps [B, H, W, C].
    """
    return x.unflatten(0, grid)


def to_repeated_map(x: Tensor, grid: Grid) -> Tensor:
    """Arrange rows as a batch of maps of one row, with each token twice; their averages and maxima are the same.

    Args:
        x: Rows [B * H * W, C].
        grid: Sizes B, H and W.

    Returns:
        Maps [B, 1, 2 * H * W, C].
    """
    count = 2 * grid.height * grid.width
    repeated = gather_rows(x, grid.batch, torch.arange(count, device=x.device) // 2)
    return to_map(repeated, Grid(grid.batch, 1, count))


class TokenIndex(NamedTuple):
    """Index of tokens to gather from a batch of maps.

    Attributes:
        rows: Row of each token in the flattened maps [B * H * W, C], [m].
        outside: Whether a token lies outside its map and is read as zeros, [m, 1]; None if none does.
    """

    rows: Tensor
    outside: Tensor | None

    def gather(self, x: Tensor) -> Tensor:
        """Gather m tokens from maps [B * H * W, C]; tokens outside a map are zeros: [m, C]."""
        tokens = x.index_select(0, self.rows)  # the gradient of advanced indexing is several times slower on CPUs
        return tokens if self.outside is None else tokens.masked_fill(self.outside, 0)


def row_and_column(index: Tensor, width: int | Tensor) -> tuple[Tensor, Tensor]:
    """Split raster indices into rows and columns.

    Args:
        index: Raster indices [...].
        width: Width of the map in tokens, a number or a tensor [].

    Returns:
        Rows and columns, [...] each.
    """
    row = index // width
    # torch's ONNX exporter can't translate a remainder by a dynamic size; Inductor can't simplify any other form of it.
    return row, index - row * width if torch.onnx.is_in_onnx_export() else index % width


def index_all_images(grid: Grid, row: Tensor, col: Tensor) -> TokenIndex:
    """Index the same positions in every map of a batch.

    Args:
        grid: Sizes B, H and W.
        row: Row of each position, [m].
        col: Column of each position, [m].

    Returns:
        Index of B * m tokens.
    """
    batch, height, width = grid
    nearest = batch_rows(row.clamp(0, height - 1) * width + col.clamp(0, width - 1), batch, height * width)
    # A graph for several sizes always applies the mask.
    if are_fixed(len(row), height, width) and len(row) <= height * width:
        return TokenIndex(nearest, None)
    outside = (row < 0) | (row >= height) | (col < 0) | (col >= width)
    return TokenIndex(nearest, outside.repeat(batch).unsqueeze(1))


@torch.fx.wrap
def batch_rows(index: Tensor, batch: int, num_rows: int) -> Tensor:
    """Repeat row indices of one image for all images of a batch.

    Args:
        index: Row indices of one image, [m].
        batch: Number of images B.
        num_rows: Number of rows per image.

    Returns:
        Row indices [B * m].
    """
    offset = torch.arange(batch, device=index.device) * num_rows
    return (offset.unsqueeze(1) + index).flatten()


def gather_rows(x: Tensor, batch: int, index: Tensor) -> Tensor:
    """Gather the same rows of every image.

    Args:
        x: Rows of all images, [B * k, C].
        batch: Number of images B.
        index: Row indices within an image, [m].

    Returns:
        Rows [B * m, C].
    """
    return x.index_select(0, batch_rows(index, batch, x.shape[0] // batch))


def pad_to_multiple(x: Tensor, multiple: Size) -> Tensor:
    """Pad with zeros at the bottom and right until both sides are multiples.

    Args:
        x: Map [B, H, W, C].
        multiple: H and W become multiples of these two numbers h and w.

    Returns:
        Padded map [B, ceil(H / h) * h, ceil(W / w) * w, C].
    """
    rows, cols = window_grid(map_size(x), multiple)
    height, width = rows * multiple[0], cols * multiple[1]
    if are_fixed(height, width) and (height, width) == map_size(x):
        return x
    index = padding_index(map_grid(x), (height, width), x.device)
    return to_map(index.gather(to_rows(x)), Grid(x.shape[0], height, width))


@torch.fx.wrap
@cache_by_shape
def padding_index(grid: Grid, size: Size, device: torch.device) -> TokenIndex:
    """Index of every position of a larger map in a smaller one, in raster order.

    Args:
        grid: Sizes B, H and W of the smaller map.
        size: Height and width of the larger map.
        device: Device of the index.
    """
    place = torch.arange(size[0] * size[1], device=device)
    return index_all_images(grid, *row_and_column(place, size[1]))


def gather_neighbors(x: Tensor, grid: Grid, stride: int, side: int, first: int = 0) -> Tensor:
    """Gather the tokens under each position of a strided kernel, with zeros outside the map.

    Args:
        x: Tokens of all images in raster order, [B * H * W, C].
        grid: Sizes B, H and W.
        stride: Stride s of the kernel.
        side: Side of the square kernel.
        first: Row and column of the kernel's first token at the first position; -1 is a padding of 1.

    Returns:
        Tokens [B * ceil(H / s) * ceil(W / s), side * side, C]; those of a position are in raster order.
    """
    return neighbor_index(grid, stride, side, first, x.device).gather(x).unflatten(0, (-1, side**2))


@torch.fx.wrap
@cache_by_shape
def neighbor_index(grid: Grid, stride: int, side: int, first: int, device: torch.device) -> TokenIndex:
    """Index of the tokens of `gather_neighbors`.

    Args:
        grid: Sizes B, H and W.
        stride: Stride of the kernel.
        side: Side of the square kernel.
        first: Row and column of the kernel's first token at the first position.
        device: Device of the index.
    """
    rows, cols = window_grid((grid.height, grid.width), (stride, stride))
    place = torch.arange(rows * cols * side**2, device=device)
    index, inside = place // side**2, place % side**2
    row, col = row_and_column(index, cols)
    row, col = row * stride + inside // side + first, col * stride + inside % side + first
    return index_all_images(grid, row, col)


def to_windows(x: Tensor, window: Size) -> Tensor:
    """Partition a map into windows.

    Args:
        x: Map [B, H, W, C].
        window: Height h and width w of a window.

    Returns:
        Windows [B * nH * nW, h * w, C], windows and the tokens of each in raster order.
    """
    tokens = window_index(map_grid(x), window, x.device).gather(to_rows(x))
    return tokens.unflatten(0, (-1, window[0] * window[1]))


@torch.fx.wrap
@cache_by_shape
def window_index(grid: Grid, window: Size, device: torch.device) -> TokenIndex:
    """Index of the tokens of `to_windows`.

    Args:
        grid: Sizes B, H and W.
        window: Height h and width w of a window.
        device: Device of the index.
    """
    rows, cols = window_grid((grid.height, grid.width), window)
    area = window[0] * window[1]
    place = torch.arange(rows * cols * area, device=device)
    index, inside = place // area, place % area  # of the window in the grid, and of the token in the window
    row, col = row_and_column(index, cols)
    row, col = row * window[0] + inside // window[1], col * window[1] + inside % window[1]
    return index_all_images(grid, row, col)


def from_windows(x: Tensor, window: Size, batch: int, size: Size, skip: int = 0) -> Tensor:
    """Merge windows back to a map and crop the padding of `to_windows`.

    Args:
        x: Windows [B * nH * nW, skip + h * w, C].
        window: Height h and width w of a window.
        batch: Number of images B.
        size: Height H and width W of the map.
        skip: Number of tokens in front of each window that are not part of the map.

    Returns:
        Map [B, H, W, C].
    """
    grid = Grid(batch, *size)
    return to_map(x.flatten(0, 1).index_select(0, unwindow_index(grid, window, skip, x.device)), grid)


@torch.fx.wrap
@cache_by_shape
def unwindow_index(grid: Grid, window: Size, skip: int, device: torch.device) -> Tensor:
    """Index of the tokens of maps in windows with ``skip`` tokens in front of each.

    Args:
        grid: Sizes B, H and W.
        window: Height h and width w of a window.
        skip: Number of tokens in front of each window that are not part of the map.
        device: Device of the result.

    Returns:
        Index [B * H * W].
    """
    batch, height, width = grid
    rows, cols = window_grid((height, width), window)
    area = skip + window[0] * window[1]
    place = torch.arange(height * width, device=device)
    row, col = row_and_column(place, width)
    index = row // window[0] * cols + col // window[1]
    inside = row % window[0] * window[1] + col % window[1] + skip
    return batch_rows(index * area + inside, batch, rows * cols * area)


def to_sequences(patches: Tensor, messengers: Tensor, window: Size) -> Tensor:
    """Join messengers and windows, X'_w = [T_MSG; X_w] (eq. 1 of the MSG-Transformer paper).

    Args:
        patches: Patch tokens [B, H, W, C].
        messengers: Messengers T_MSG [B * nH * nW, C].
        window: Height h and width w of a window.

    Returns:
        Window tokens X'_w [B * nH * nW, 1 + h * w, C].
    """
    return torch.cat([messengers.unsqueeze(1), to_windows(patches, window)], dim=1)


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
    messengers = x[:, 0]  # first: a traced stage is named after its last operation, which has to be the map
    return from_windows(x, window, batch, size, skip=1), messengers


def replace_messengers(x: Tensor, messengers: Tensor) -> Tensor:
    """Replace the messenger of each window.

    Args:
        x: Window tokens [B * n, N, C]; overwritten outside graphs.
        messengers: New messengers [B * n, C].

    Returns:
        Window tokens [B * n, N, C].
    """
    if is_captured(x):
        return torch.cat([messengers.unsqueeze(1), x[:, 1:]], dim=1)
    x[:, 0] = messengers  # in place: concatenation would copy every patch token
    return x


def assign_messengers(entries: Tensor, grid: Grid, side: int, device: torch.device, coverage: int = 1) -> Tensor:
    """Assign an initial messenger to each window; all regions share the same R * R entries (section 3.1).

    Args:
        entries: Initial messengers [R * R, C].
        grid: Sizes B, nH and nW.
        side: Side R of the regions of stage 1.
        device: Device of the tokens.
        coverage: Number of windows per row and per column that share a messenger.

    Returns:
        Messengers [B * nH * nW, C]; with a coverage of 1, window (i, j) gets entry (i mod R) * R + (j mod R).
    """
    return entries.index_select(0, first_entries(grid, side, device, coverage))


@torch.fx.wrap
def first_entries(grid: Grid, side: int, device: torch.device, coverage: int) -> Tensor:
    """Find the entry of the input messengers from which each window starts.

    Args:
        grid: Sizes B, nH and nW.
        side: Side R of the regions of stage 1.
        device: Device of the result.
        coverage: Number of windows per row and per column that share a messenger.

    Returns:
        Index into the R * R entries, [B * nH * nW].
    """
    batch, rows, cols = grid
    row, col = row_and_column(torch.arange(rows * cols, device=device), cols)
    row, col = row // coverage % side, col // coverage % side
    return (row * side + col).repeat(batch)

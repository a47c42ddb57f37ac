"""Operators that exchange information between messenger (MSG) tokens; select one with `exchange=`.

They work on the grid of messengers, one per window; patch tokens never move.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from msgformer.mindspore.window import Grid
from msgformer.model_names import nearest

Corner = Literal["left-top", "right-bottom"]
CORNERS: tuple[Corner, Corner] = ("left-top", "right-bottom")
"""Corners at which the regions of even and odd blocks are anchored (section 4.2 of the paper)."""


class Exchange(nn.Cell):
    """Exchanges information between the messengers of a stage after a block's attention (eq. 3).

    Args:
        dim: Channels C of a messenger.
        region: Largest side R of a region in windows. On a smaller grid, R is the largest power of two that fits.
        corner: Corner at which regions are anchored.
    """

    def __init__(self, dim: int, region: int, corner: Corner) -> None:
        super().__init__()
        self.dim = dim
        self.region = 1 << (region.bit_length() - 1)  # the largest power of two that is <= region
        self.corner = corner


class NoExchange(Exchange):
    """Leaves messengers unchanged (Table 4, "MSG token" without "shuffle op.")."""

    def construct(self, messengers: Tensor, grid: Grid) -> Tensor:  # noqa: ARG002
        """Return the messengers unchanged.

        Args:
            messengers: Messengers [B * nH * nW, C].
            grid: Sizes B, nH and nW; not used.
        """
        return messengers


class Shuffle(Exchange):
    """Shuffles channel groups between the messengers of a region (section 3.1, Figure 3, eq. 7).

    The R * R messengers of a region form a matrix [R * R, C]. The channels are split into R * R groups, and the group
    and messenger axes are transposed: messenger g receives group g of every messenger n as its own group n. Messengers
    outside every region stay unchanged.

    Args:
        dim: Channels C of a messenger, divisible by R * R.
        region: Largest side R of a region in windows.
        corner: Corner at which regions are anchored.
    """

    def __init__(self, dim: int, region: int, corner: Corner) -> None:
        super().__init__(dim, region, corner)
        if dim % self.region**2:
            raise ValueError(
                f"a shuffle over {self.region} x {self.region} windows needs channels divisible by {self.region**2}, "
                f"got {dim}: use a smaller entry in shuffle_sizes or a larger embed_dim"
            )

    def construct(self, messengers: Tensor, grid: Grid) -> Tensor:
        """Shuffle by one gather: reshape, transpose and reshape of eq. 7.

        Args:
            messengers: Messengers T_MSG [B * nH * nW, C].
            grid: Sizes B, nH and nW.

        Returns:
            Shuffled messengers [B * nH * nW, C].
        """
        plan = shuffle_plan(grid[1], grid[2], self.dim, self.region, self.corner)
        return ops.gather(messengers.reshape(grid[0], -1), plan, 1).reshape(-1, self.dim)


EXCHANGES: dict[str, type[Exchange]] = {"shuffle": Shuffle, "none": NoExchange}


def create_exchange(name: str, dim: int, region: int, corner: Corner) -> Exchange:
    """Create the exchange that is registered under a name.

    Args:
        name: Name of the exchange.
        dim: Channels C of a messenger.
        region: Largest side R of a region in windows.
        corner: Corner at which regions are anchored.

    Raises:
        ValueError: MindSpore has no exchange of that name, or it does not support these sizes.
    """
    if name not in EXCHANGES:
        known = ", ".join(EXCHANGES)
        raise ValueError(f"no exchange {name!r} for MindSpore, known: {known}{nearest(name, [*EXCHANGES])}")
    return EXCHANGES[name](dim, region, corner)


class Regions(NamedTuple):
    """Region of each window; every field but `side` has the shape of the given window indices.

    Regions of R x R windows are anchored at one corner of the grid. Windows left over at the two opposite edges belong
    to no region: they are `outside`.
    """

    side: int  # R
    row: np.ndarray  # row of the region's first window in the grid
    col: np.ndarray
    place: np.ndarray  # raster index of the window inside its region, 0 .. R * R - 1
    outside: np.ndarray  # bool


def find_regions(window: np.ndarray, rows: int, cols: int, largest: int, corner: Corner) -> Regions:
    """Find the region of each window.

    R is the largest power of two that is <= min(largest, nH, nW). The setting of dense tasks, (4, 4, 8, 4), therefore
    equals the classification setting (4, 4, 2, 1) at 224 x 224 (Table 1).

    Args:
        window: Indices of windows in raster order, [...].
        rows: Number of rows nH of the grid.
        cols: Number of columns nW of the grid.
        largest: Upper bound of R.
        corner: Corner at which regions are anchored.
    """
    side = 1 << (min(largest, rows, cols).bit_length() - 1)
    shift_row, shift_col = (rows % side, cols % side) if corner == "right-bottom" else (0, 0)
    row, col = window // cols, window % cols
    place_row, place_col = (row - shift_row) % side, (col - shift_col) % side
    first_row, first_col = row - place_row, col - place_col
    outside = (first_row < shift_row) | (first_col < shift_col)
    outside |= (first_row + side > rows) | (first_col + side > cols)
    return Regions(side, first_row, first_col, place_row * side + place_col, outside)


@ms.constexpr
def shuffle_plan(rows: int, cols: int, dim: int, region: int, corner: Corner) -> Tensor:
    """Compute the source of every channel of an image's messengers.

    Args:
        rows: Number of rows nH of the grid.
        cols: Number of columns nW of the grid.
        dim: Channels C of a messenger.
        region: Largest side R of a region in windows.
        corner: Corner at which regions are anchored.

    Returns:
        Index [nH * nW * C].
    """
    return Tensor(_shuffle_sources(rows, cols, dim, region, corner))


@lru_cache(maxsize=256)
def _shuffle_sources(rows: int, cols: int, dim: int, region: int, corner: Corner) -> np.ndarray:
    place = np.arange(rows * cols * dim, dtype=np.int32)
    window, channel = place // dim, place % dim
    regions = find_regions(window, rows, cols, region, corner)
    group_size = dim // regions.side**2
    messenger, within = channel // group_size, channel % group_size  # n, and the channel inside its group
    row, col = regions.row + messenger // regions.side, regions.col + messenger % regions.side
    source = (row * cols + col) * dim + regions.place * group_size + within
    return np.where(regions.outside, place, source).astype(np.int32)

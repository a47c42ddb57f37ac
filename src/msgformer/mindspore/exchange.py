"""Ways for messengers to talk to each other, chosen by name: ``create_model(..., exchange="shuffle")``.

All work on the grid of messengers alone, one for each window; patch tokens never move.
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
"""Where the regions of even and of odd blocks are anchored (section 4.2 of the paper)."""


class Exchange(nn.Cell):
    """How the messengers of a stage exchange information after a block's attention (equation 3).

    Args:
        dim: Channels C of a messenger.
        region: Largest side R of a region, in windows; on a smaller grid it is the largest power of two that fits.
        corner: Where regions are anchored.
    """

    def __init__(self, dim: int, region: int, corner: Corner) -> None:
        super().__init__()
        self.dim = dim
        self.region = 1 << (region.bit_length() - 1)  # the largest power of two that is <= region
        self.corner = corner


class NoExchange(Exchange):
    """Messengers stay where they are (Table 4, "MSG token" without "shuffle op.")."""

    def construct(self, messengers: Tensor, grid: Grid) -> Tensor:  # noqa: ARG002
        """The messengers themselves."""
        return messengers


class Shuffle(Exchange):
    """Channel groups of the messengers of a region swap places (section 3.1, Figure 3, equation 7).

    The R * R messengers of a region are a matrix [R * R, C]. C is split into R * R groups, and group and
    messenger are transposed: messenger g takes group g of every messenger n, and puts it in its place n.
    Messengers outside every region stay as they are.
    """

    def __init__(self, dim: int, region: int, corner: Corner) -> None:
        super().__init__(dim, region, corner)
        if dim % self.region**2:
            raise ValueError(
                f"a shuffle over {self.region} x {self.region} windows needs channels divisible by {self.region**2}, "
                f"got {dim}: use a smaller entry in shuffle_sizes or a larger embed_dim"
            )

    def construct(self, messengers: Tensor, grid: Grid) -> Tensor:
        """Every channel from the place that the plan names.

        Args:
            messengers: [B * nH * nW, C]
            grid: B, nH and nW.
        """
        plan = shuffle_plan(grid[1], grid[2], self.dim, self.region, self.corner)
        return ops.gather(messengers.reshape(grid[0], -1), plan, 1).reshape(-1, self.dim)


EXCHANGES: dict[str, type[Exchange]] = {"shuffle": Shuffle, "none": NoExchange}


def create_exchange(name: str, dim: int, region: int, corner: Corner) -> Exchange:
    """The exchange of a name.

    Raises:
        ValueError: there is none of that name for MindSpore, or it can't work with these sizes.
    """
    if name not in EXCHANGES:
        known = ", ".join(EXCHANGES)
        raise ValueError(f"no exchange {name!r} for MindSpore, known: {known}{nearest(name, [*EXCHANGES])}")
    return EXCHANGES[name](dim, region, corner)


class Regions(NamedTuple):
    """Which region some windows belong to; every field but `side` has the shape of the window indices given.

    Regions of R x R windows are anchored at one corner of the grid. Windows left over at the other two edges
    belong to none: they are `outside`.
    """

    side: int  # R
    row: np.ndarray  # row of the region's first window in the grid
    col: np.ndarray
    place: np.ndarray  # raster index of the window inside its region, 0 .. R * R - 1
    outside: np.ndarray  # bool


def find_regions(window: np.ndarray, rows: int, cols: int, largest: int, corner: Corner) -> Regions:
    """Finds the regions of windows.

    R is the largest power of two that is <= min(largest, nH, nW), so that (4, 4, 8, 4), the setting of dense
    tasks, is exactly the classification setting (4, 4, 2, 1) at 224 x 224.

    Args:
        window: Indices of windows in raster order, of any shape.
        rows: Rows nH of the grid.
        cols: Columns nW of the grid.
        largest: Upper bound of R.
        corner: Where regions are anchored.
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
    """For each channel of each messenger of an image, the place that it comes from: [nH * nW * C]."""
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

"""Operators that exchange information between messenger (MSG) tokens; select one with `exchange=`.

``create_model(..., exchange="shuffle")``. Every operator works on the grid of messengers, one per window; patch tokens
never move. This module has the paper's shuffle and no exchange; `msgformer.models.extensions.exchange` has others. To
add one, subclass `GridExchange`, register it under a name, and return the new grid:

    @register_exchange("everywhere")
    class Everywhere(GridExchange):
        def exchange(self, messengers):  # [B, nH, nW, C]
            return messengers + messengers.mean(dim=(1, 2), keepdim=True)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
import torch.fx
from torch import Tensor, nn

from msgformer.kernels.index_cache import cache_by_shape
from msgformer.model_names import nearest
from msgformer.models.window import Grid, row_and_column

Corner = Literal["left-top", "right-bottom"]
CORNERS: tuple[Corner, Corner] = ("left-top", "right-bottom")
"""Corners at which the regions of even and odd blocks are anchored (section 4.2 of the paper)."""


class Exchange(nn.Module, ABC):
    """Exchanges information between the messengers of a stage after a block's attention (eq. 3).

    Args:
        dim: Channels C of a messenger.
        region: Largest side R of a region in windows. On a smaller grid, R is the largest power of two that fits.
    """

    def __init__(self, dim: int, region: int) -> None:
        super().__init__()
        self.dim = dim
        self.region = 1 << (region.bit_length() - 1)  # the largest power of two that is <= region

    def plan(self, grid: Grid, corner: Corner, device: torch.device) -> Any:  # noqa: ARG002
        """Prepare what depends on the grid only.

        It is called once per stage and corner; the result is passed to the `forward` of every block.

        Args:
            grid: Sizes B, nH and nW.
            corner: Corner at which regions are anchored.
            device: Device of the tensors in the plan.

        Returns:
            The plan; by default the grid.
        """
        return grid

    @abstractmethod
    def forward(self, messengers: Tensor, plan: Any) -> Tensor:
        """Exchange information between messengers.

        Args:
            messengers: Messengers [B * nH * nW, C], per image in raster order of the windows.
            plan: Return value of `plan`.

        Returns:
            Updated messengers [B * nH * nW, C].
        """


class GridExchange(Exchange):
    """An exchange that sees the messengers of each image as a map. Extensions start here."""

    @abstractmethod
    def exchange(self, messengers: Tensor) -> Tensor:
        """Exchange information between the messengers of a grid.

        Args:
            messengers: Messengers [B, nH, nW, C].

        Returns:
            Updated messengers [B, nH, nW, C].
        """

    def forward(self, messengers: Tensor, plan: Grid) -> Tensor:
        """Apply `exchange` to the messengers as a grid.

        Args:
            messengers: Messengers [B * nH * nW, C].
            plan: Sizes B, nH and nW.

        Returns:
            Updated messengers [B * nH * nW, C].
        """
        return self.exchange(messengers.unflatten(0, plan)).flatten(0, 2)


_EXCHANGES: dict[str, type[Exchange]] = {}


def register_exchange(name: str) -> Callable[[type[Exchange]], type[Exchange]]:
    """Make an `Exchange` available as ``exchange=name`` in every MSG-Transformer."""

    def register(cls: type[Exchange]) -> type[Exchange]:
        _EXCHANGES[name] = cls
        return cls

    return register


def create_exchange(
    name: str, dim: int, region: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> Exchange:
    """Create the exchange that is registered under a name.

    Args:
        name: Name of the exchange.
        dim: Channels C of a messenger.
        region: Largest side R of a region in windows.
        device: Device of the parameters.
        dtype: Type of the parameters.

    Raises:
        ValueError: No exchange has that name, or it does not support these sizes.
    """
    if name not in _EXCHANGES:
        known = f"{', '.join(_EXCHANGES)}{nearest(name, [*_EXCHANGES])}"
        raise ValueError(f"unknown exchange {name!r}, known: {known}; --plugins MODULE imports a module with its own")
    # Moved afterwards, because the constructor of a plug-in takes neither argument.
    return _EXCHANGES[name](dim, region).to(device=device, dtype=dtype)


def registered_exchange(name: str) -> type[Exchange] | None:
    """Return the class that is registered under a name; None if there is none."""
    return _EXCHANGES.get(name)


class Regions(NamedTuple):
    """Region of each window; every field but `side` has the shape of the given window indices.

    Regions of R x R windows are anchored at one corner of the grid. Windows left over at the two opposite edges belong
    to no region: they are `outside`.
    """

    side: Tensor  # R, a scalar
    row: Tensor  # row of the region's first window in the grid
    col: Tensor
    place: Tensor  # raster index of the window inside its region, 0 .. R * R - 1
    outside: Tensor  # bool


def find_regions(window: Tensor, grid: Grid, largest: int, corner: Corner) -> Regions:
    """Find the region of each window.

    R is the largest power of two that is <= min(largest, nH, nW). The setting of dense tasks, (4, 4, 8, 4), therefore
    equals the classification setting (4, 4, 2, 1) at 224 x 224 (Table 1). R is a tensor, because a Python number would
    specialize a captured graph.

    Args:
        window: Indices of windows in raster order, [...].
        grid: Sizes B, nH and nW; B is not used.
        largest: Upper bound of R.
        corner: Corner at which regions are anchored.
    """
    rows, cols = (window.new_full((), size) for size in (grid.height, grid.width))
    powers = 2 ** torch.arange(1, largest.bit_length(), device=window.device)
    side = 2 ** (powers <= torch.minimum(rows, cols)).sum()
    shift_row, shift_col = (rows % side, cols % side) if corner == "right-bottom" else (rows * 0, cols * 0)
    row, col = row_and_column(window, cols)
    place_row, place_col = (row - shift_row) % side, (col - shift_col) % side
    first_row, first_col = row - place_row, col - place_col
    outside = (first_row < shift_row) | (first_col < shift_col)
    outside |= (first_row + side > rows) | (first_col + side > cols)
    return Regions(side, first_row, first_col, place_row * side + place_col, outside)


@register_exchange("none")
class NoExchange(Exchange):
    """Leaves messengers unchanged (Table 4, "MSG token" without "shuffle op.")."""

    def forward(self, messengers: Tensor, plan: Grid) -> Tensor:  # noqa: ARG002
        """Return the messengers unchanged.

        Args:
            messengers: Messengers [B * nH * nW, C].
            plan: Not used.
        """
        return messengers


@register_exchange("shuffle")
class Shuffle(Exchange):
    """Shuffles channel groups between the messengers of a region (section 3.1, Figure 3, eq. 7).

    The R * R messengers of a region form a matrix [R * R, C]. The channels are split into R * R groups, and the group
    and messenger axes are transposed: messenger g receives group g of every messenger n as its own group n. Messengers
    outside every region stay unchanged.

    Args:
        dim: Channels C of a messenger, divisible by R * R.
        region: Largest side R of a region in windows.
    """

    def __init__(self, dim: int, region: int) -> None:
        super().__init__(dim, region)
        if dim % self.region**2:
            raise ValueError(
                f"a shuffle over {self.region} x {self.region} windows needs channels divisible by {self.region**2}, "
                f"got {dim}: use a smaller entry in shuffle_sizes or a larger embed_dim"
            )

    def plan(self, grid: Grid, corner: Corner, device: torch.device) -> Tensor:
        """Compute the source of every channel in the flattened batch.

        Args:
            grid: Sizes B, nH and nW.
            corner: Corner at which regions are anchored.
            device: Device of the result.

        Returns:
            Index [B * nH * nW * C].
        """
        return shuffle_index(self.dim, self.region, grid, corner, device)

    def forward(self, messengers: Tensor, plan: Tensor) -> Tensor:
        """Shuffle by one gather: reshape, transpose and reshape of eq. 7.

        Args:
            messengers: Messengers T_MSG [B * nH * nW, C].
            plan: Source of every channel [B * nH * nW * C].

        Returns:
            Shuffled messengers [B * nH * nW, C].
        """
        return messengers.flatten().index_select(0, plan).view(-1, self.dim)


@torch.fx.wrap
@cache_by_shape
def shuffle_index(dim: int, region: int, grid: Grid, corner: Corner, device: torch.device) -> Tensor:
    """Compute the plan of `Shuffle`.

    Args:
        dim: Channels C of a messenger.
        region: Largest side R of a region in windows.
        grid: Sizes B, nH and nW.
        corner: Corner at which regions are anchored.
        device: Device of the result.

    Returns:
        Source of every channel in the flattened batch, [B * nH * nW * C].
    """
    place = torch.arange(grid.height * grid.width * dim, device=device)
    window, channel = place // dim, place % dim
    regions = find_regions(window, grid, region, corner)
    # A tensor, because torch's ONNX exporter can't divide a Python number by a tensor.
    group_size = torch.full((), dim, device=device, dtype=torch.int64) // regions.side**2
    messenger, within = channel // group_size, channel % group_size  # n, and the channel inside its group
    row, col = regions.row + messenger // regions.side, regions.col + messenger % regions.side
    source = (row * grid.width + col) * dim + regions.place * group_size + within
    offset = torch.arange(grid.batch, device=device) * (grid.height * grid.width * dim)
    return (offset[:, None] + torch.where(regions.outside, place, source)).flatten()

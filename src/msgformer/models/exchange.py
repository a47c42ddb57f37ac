"""Ways for messengers to talk to each other, chosen by name: ``create_model(..., exchange="shuffle")``.

All work on the grid of messengers alone, one for each window; patch tokens never move. The paper's shuffle, and no
exchange, are here; others in `exchange_extensions`. To add one, subclass `GridExchange`, register it under a name,
and return the new grid:

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

from msgformer.kernels.index_cache import keep_by_size
from msgformer.model_names import nearest
from msgformer.models.window import Grid, row_and_column

Corner = Literal["left-top", "right-bottom"]
CORNERS: tuple[Corner, Corner] = ("left-top", "right-bottom")
"""Where the regions of even and of odd blocks are anchored (section 4.2 of the paper)."""


class Exchange(nn.Module, ABC):
    """How the messengers of a stage exchange information after a block's attention (equation 3).

    Args:
        dim: Channels C of a messenger.
        region: Largest side R of a region, in windows; on a smaller grid it is the largest power of two that fits.
    """

    def __init__(self, dim: int, region: int) -> None:
        super().__init__()
        self.dim = dim
        self.region = 1 << (region.bit_length() - 1)  # the largest power of two that is <= region

    def plan(self, grid: Grid, corner: Corner, device: torch.device) -> Any:  # noqa: ARG002
        """What depends on the grid alone: made once a stage and corner, handed to every block's `forward`."""
        return grid

    @abstractmethod
    def forward(self, messengers: Tensor, plan: Any) -> Tensor:
        """Messengers after the exchange.

        Args:
            messengers: [B * nH * nW, C], images and then windows in raster order.
            plan: What `plan` returned.
        """


class GridExchange(Exchange):
    """An exchange that sees the messengers of each image as a map. Extensions start here."""

    @abstractmethod
    def exchange(self, messengers: Tensor) -> Tensor:
        """Messengers [B, nH, nW, C] after the exchange."""

    def forward(self, messengers: Tensor, plan: Grid) -> Tensor:
        """Messengers [B * nH * nW, C] after the exchange."""
        return self.exchange(messengers.unflatten(0, plan)).flatten(0, 2)


_EXCHANGES: dict[str, type[Exchange]] = {}


def register_exchange(name: str) -> Callable[[type[Exchange]], type[Exchange]]:
    """Makes an `Exchange` available as ``exchange=name`` in every MSG-Transformer."""

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
        region: Largest side R of a region, in windows.
        device: Device of its parameters.
        dtype: Type of its parameters.

    Raises:
        ValueError: No exchange has that name, or it can't work with these sizes.
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
    """Which region some windows belong to; every field but `side` has the shape of the window indices given.

    Regions of R x R windows are anchored at one corner of the grid. Windows left over at the other two edges
    belong to none: they are `outside`.
    """

    side: Tensor  # R, a scalar
    row: Tensor  # row of the region's first window in the grid
    col: Tensor
    place: Tensor  # raster index of the window inside its region, 0 .. R * R - 1
    outside: Tensor  # bool


def find_regions(window: Tensor, grid: Grid, largest: int, corner: Corner) -> Regions:
    """Finds the regions of windows.

    R is the largest power of two that is <= min(largest, nH, nW), so that (4, 4, 8, 4), the setting of dense
    tasks, is exactly the classification setting (4, 4, 2, 1) at 224 x 224. R is computed as a tensor: as a number
    it would specialise a captured graph.

    Args:
        window: Indices of windows in raster order, of any shape.
        grid: The grid of windows; its batch does not matter.
        largest: Upper bound of R.
        corner: Where regions are anchored.
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
    """Messengers stay where they are (Table 4, "MSG token" without "shuffle op.")."""

    def forward(self, messengers: Tensor, plan: Grid) -> Tensor:  # noqa: ARG002
        """The messengers themselves."""
        return messengers


@register_exchange("shuffle")
class Shuffle(Exchange):
    """Channel groups of the messengers of a region swap places (section 3.1, Figure 3, equation 7).

    The R * R messengers of a region are a matrix [R * R, C]. C is split into R * R groups, and group and
    messenger are transposed: messenger g takes group g of every messenger n, and puts it in its place n.
    Messengers outside every region stay as they are.
    """

    def __init__(self, dim: int, region: int) -> None:
        super().__init__(dim, region)
        if dim % self.region**2:
            raise ValueError(
                f"a shuffle over {self.region} x {self.region} windows needs channels divisible by {self.region**2}, "
                f"got {dim}: use a smaller entry in shuffle_sizes or a larger embed_dim"
            )

    def plan(self, grid: Grid, corner: Corner, device: torch.device) -> Tensor:
        """For each channel of each messenger, the place in the flat batch that it comes from: [B * nH * nW * C]."""
        return shuffled_places(self.dim, self.region, grid, corner, device)

    def forward(self, messengers: Tensor, plan: Tensor) -> Tensor:
        """Every channel from the place that the plan names.

        Args:
            messengers: [B * nH * nW, C]
            plan: [B * nH * nW * C]
        """
        return messengers.flatten().index_select(0, plan).view(-1, self.dim)


@torch.fx.wrap
@keep_by_size
def shuffled_places(dim: int, region: int, grid: Grid, corner: Corner, device: torch.device) -> Tensor:
    """The plan of `Shuffle`."""
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

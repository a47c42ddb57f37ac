"""Exchange operators beyond the paper's shuffle, of the kinds proposed in section 3.1, "Extensions".

Costs are given per messenger of C channels, in regions of R x R windows and images of n windows; the shuffle moves C
numbers and computes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.kernels.index_cache import cache_by_shape
from msgformer.models.exchange import Corner, Exchange, GridExchange, find_regions, register_exchange
from msgformer.models.window import Grid, gather_rows

HEAD_DIM = 32
"""Channels of an attention head, as in the model's own attention."""


class RegionPlan(NamedTuple):
    """Positions of the windows of an image in their regions, in raster order.

    Attributes:
        batch: Number of images B.
        place: Position of each window in its region, as raster index in R x R windows, [n].
        members: For each position of an R x R region, the window of the same region at it, [R * R, n]; the window
            itself where the region has no such position.
        present: Whether the region has a window at the position, [R * R, n].
    """

    batch: int
    place: Tensor
    members: Tensor
    present: Tensor


@torch.fx.wrap
@cache_by_shape
def plan_regions(grid: Grid, region: int, corner: Corner, device: torch.device) -> RegionPlan:
    """Find the windows of each window's region.

    Args:
        grid: Sizes B, nH and nW.
        region: Largest side R of a region in windows.
        corner: Corner at which regions are anchored.
        device: Device of the tensors in the plan.
    """
    window = torch.arange(grid.height * grid.width, device=device)
    regions = find_regions(window, grid, region, corner)
    place_row, place_col = regions.place // regions.side, regions.place % regions.side
    position = torch.arange(region**2, device=device).unsqueeze(1)
    row, col = position // region, position % region
    present = (row < regions.side) & (col < regions.side) & ~regions.outside
    member = (regions.row + row) * grid.width + regions.col + col
    return RegionPlan(
        grid.batch,
        place_row * region + place_col,
        torch.where(present, member, window),
        present,
    )


class RegionExchange(Exchange):
    """Base of exchanges in which a messenger receives from all messengers of its region."""

    def plan(self, grid: Grid, corner: Corner, device: torch.device) -> RegionPlan:
        """Find the windows of each window's region.

        Args:
            grid: Sizes B, nH and nW.
            corner: Corner at which regions are anchored.
            device: Device of the tensors in the plan.
        """
        return plan_regions(grid, self.region, corner, device)


@register_exchange("mean")
class Mean(RegionExchange):
    """Adds the mean of a region to each of its messengers. No parameters; R * R * C additions."""

    def forward(self, messengers: Tensor, plan: RegionPlan) -> Tensor:
        """Add region means.

        Args:
            messengers: Messengers [B * n, C].
            plan: Return value of `plan`.

        Returns:
            Updated messengers [B * n, C].
        """
        total = torch.zeros_like(messengers)
        for index in range(self.region**2):  # positions in a region
            present = per_image(plan.present[index], plan.batch, messengers)
            total = total + gather_rows(messengers, plan.batch, plan.members[index]) * present
        count = plan.present.sum(dim=0).clamp(min=1)
        return messengers + total / per_image(count, plan.batch, messengers)


@register_exchange("mlp")
class Mlp(RegionExchange):
    """Mixes the messengers of a region by a learned two-layer MLP that all channels share.

    R^4 parameters per layer; 2 * R * R * C multiplications. The second layer starts at zero, so the exchange starts as
    the identity.

    Args:
        dim: Channels C of a messenger.
        region: Largest side R of a region in windows.
    """

    def __init__(self, dim: int, region: int) -> None:
        super().__init__(dim, region)
        places = self.region**2
        self.weight1 = nn.Parameter(torch.randn(places, places) * places**-0.5)
        self.weight2 = nn.Parameter(torch.zeros(places, places))

    def forward(self, messengers: Tensor, plan: RegionPlan) -> Tensor:
        """Mix messengers; those outside every region stay unchanged.

        Args:
            messengers: Messengers [B * n, C].
            plan: Return value of `plan`.

        Returns:
            Updated messengers [B * n, C].
        """
        hidden = F.gelu(self.mix(messengers, self.weight1, plan))
        return messengers + self.mix(hidden, self.weight2, plan)

    def mix(self, messengers: Tensor, weight: Tensor, plan: RegionPlan) -> Tensor:
        """Apply one layer across the positions of each region.

        Args:
            messengers: Messengers [B * n, C].
            weight: Weight of the layer, [R * R, R * R].
            plan: Return value of `plan`.

        Returns:
            Weighted sums [B * n, C].
        """
        total = torch.zeros_like(messengers)
        rows = weight[plan.place]  # [n, R * R]
        for index in range(self.region**2):  # positions in a region
            share = per_image(rows[:, index] * plan.present[index], plan.batch, messengers)
            total = total + gather_rows(messengers, plan.batch, plan.members[index]) * share
        return total


@register_exchange("attention")
class Attention(GridExchange):
    """Self-attention among all messengers of an image, like that among FasterViT's carrier tokens.

    4 * C * C parameters; 4 * C * C + 2 * n * C multiplications, so the cost per image is quadratic in its area.

    Args:
        dim: Channels C of a messenger.
        region: Not used.
    """

    def __init__(self, dim: int, region: int) -> None:
        super().__init__(dim, region)
        self.num_heads = max(1, dim // HEAD_DIM)
        if dim % self.num_heads:
            raise ValueError(f"attention among messengers needs channels divisible by {self.num_heads}, got {dim}")
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def exchange(self, messengers: Tensor) -> Tensor:
        """Attend among the messengers of a grid [B, nH, nW, C]; same shape."""
        x = messengers.flatten(1, 2)  # [B, n, C]
        qkv = self.qkv(self.norm(x)).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [B, heads, n, C / heads]
        out = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return messengers + self.proj(out).view(messengers.shape)


@register_exchange("shift")
class Shift(GridExchange):
    """Takes an eighth of the channels from each of the four neighbors and keeps half, as if windows overlapped.

    No parameters and no arithmetic. At the borders of the grid a messenger keeps its own channels.

    Args:
        dim: Channels C of a messenger, divisible by 8.
        region: Not used.
    """

    def __init__(self, dim: int, region: int) -> None:
        super().__init__(dim, region)
        if dim % 8:
            raise ValueError(f"a shift between neighbors needs channels divisible by 8, got {dim}")

    def exchange(self, messengers: Tensor) -> Tensor:
        """Shift channels between the messengers of a grid [B, nH, nW, C]; same shape."""
        above, below, left, right, own = messengers.split([self.dim // 8] * 4 + [self.dim // 2], dim=-1)
        return torch.cat(
            [
                gather_shifted(above, 1, -1),
                gather_shifted(below, 1, 1),
                gather_shifted(left, 2, -1),
                gather_shifted(right, 2, 1),
                own,
            ],
            dim=-1,
        )


@torch.fx.wrap
def gather_shifted(x: Tensor, dim: int, step: int) -> Tensor:
    """Shift values along a dimension and repeat the border.

    Args:
        x: Values [...].
        dim: The dimension.
        step: Each position receives the value at position + step.

    Returns:
        Shifted values, same shape as `x`.
    """
    place = torch.arange(x.shape[dim], device=x.device) + step
    return x.index_select(dim, place.clamp(0, x.shape[dim] - 1))


def per_image(value: Tensor, batch: int, like: Tensor) -> Tensor:
    """Repeat one number per window for all images.

    Args:
        value: One number per window, [n].
        batch: Number of images B.
        like: Tensor [...] with the type of the result.

    Returns:
        Column [B * n, 1].
    """
    return value.to(like.dtype).repeat(batch).unsqueeze(1)

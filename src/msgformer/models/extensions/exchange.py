"""Ways for messengers to talk beyond the paper's shuffle, of the kinds that it proposes under "Extensions".

What each costs is said for a messenger of C channels, in regions of R x R windows, in an image of n windows; the
shuffle itself moves C numbers and computes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.kernels.index_cache import keep_by_size
from msgformer.models.exchange import Corner, Exchange, GridExchange, find_regions, register_exchange
from msgformer.models.window import Grid, take_rows

HEAD_DIM = 32
"""Channels of an attention head, as in the model's own attention."""


class RegionPlan(NamedTuple):
    """Where the windows of an image, in raster order, stand in their regions.

    Attributes:
        batch: Number of images B.
        place: Row and column in the region as place in one of R x R windows, [n].
        members: For each place of an R x R region, the window of the same region that is there, [R * R, n]; the
            window itself where the region is smaller or there is none.
        present: Whether there is one, [R * R, n].
    """

    batch: int
    place: Tensor
    members: Tensor
    present: Tensor


@torch.fx.wrap
@keep_by_size
def plan_regions(grid: Grid, region: int, corner: Corner, device: torch.device) -> RegionPlan:
    """Finds, for every window of a grid, the windows of its region."""
    window = torch.arange(grid.height * grid.width, device=device)
    regions = find_regions(window, grid, region, corner)
    place_row, place_col = regions.place // regions.side, regions.place % regions.side
    every = torch.arange(region**2, device=device).unsqueeze(1)
    row, col = every // region, every % region
    present = (row < regions.side) & (col < regions.side) & ~regions.outside
    there = (regions.row + row) * grid.width + regions.col + col
    return RegionPlan(
        grid.batch,
        place_row * region + place_col,
        torch.where(present, there, window),
        present,
    )


class RegionExchange(Exchange):
    """Base of exchanges in which a messenger sees all messengers of its region."""

    def plan(self, grid: Grid, corner: Corner, device: torch.device) -> RegionPlan:
        """The windows of each window's region."""
        return plan_regions(grid, self.region, corner, device)


@register_exchange("mean")
class Mean(RegionExchange):
    """A region's average is added to each of its messengers. No parameters; R * R * C additions."""

    def forward(self, messengers: Tensor, plan: RegionPlan) -> Tensor:
        """[B * n, C] to the same."""
        total = torch.zeros_like(messengers)
        for index in range(self.region**2):  # places of a region
            present = per_image(plan.present[index], plan.batch, messengers)
            total = total + take_rows(messengers, plan.batch, plan.members[index]) * present
        count = plan.present.sum(dim=0).clamp(min=1)
        return messengers + total / per_image(count, plan.batch, messengers)


@register_exchange("mlp")
class Mlp(RegionExchange):
    """Messengers of a region are mixed by a learned two-layer network, the same for all channels.

    R^4 parameters a layer; 2 * R * R * C multiplications. It starts as the identity: the second layer is zero.
    """

    def __init__(self, dim: int, region: int) -> None:
        super().__init__(dim, region)
        places = self.region**2
        self.weight1 = nn.Parameter(torch.randn(places, places) * places**-0.5)
        self.weight2 = nn.Parameter(torch.zeros(places, places))

    def forward(self, messengers: Tensor, plan: RegionPlan) -> Tensor:
        """[B * n, C] to the same; messengers outside every region stay."""
        hidden = F.gelu(self.mix(messengers, self.weight1, plan))
        return messengers + self.mix(hidden, self.weight2, plan)

    def mix(self, messengers: Tensor, weight: Tensor, plan: RegionPlan) -> Tensor:
        """Sums over the region's messengers, weighted by both places: [B * n, C] to the same."""
        total = torch.zeros_like(messengers)
        rows = weight[plan.place]  # [n, R * R]
        for index in range(self.region**2):  # places of a region
            share = per_image(rows[:, index] * plan.present[index], plan.batch, messengers)
            total = total + take_rows(messengers, plan.batch, plan.members[index]) * share
        return total


@register_exchange("attention")
class Attention(GridExchange):
    """Self-attention among all messengers of an image, as among FasterViT's carrier tokens.

    4 * C * C parameters; 4 * C * C + 2 * n * C multiplications, so that its cost grows with the square of the image.
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
        """[B, nH, nW, C] to the same."""
        x = messengers.flatten(1, 2)  # [B, n, C]
        qkv = self.qkv(self.norm(x)).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [B, heads, n, C / heads]
        out = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return messengers + self.proj(out).view(messengers.shape)


@register_exchange("shift")
class Shift(GridExchange):
    """An eighth of the channels comes from each of the four neighbours, half stay: windows overlap in messengers.

    No parameters, nothing computed. At the borders of the grid a messenger keeps its own channels.
    """

    def __init__(self, dim: int, region: int) -> None:
        super().__init__(dim, region)
        if dim % 8:
            raise ValueError(f"a shift between neighbours needs channels divisible by 8, got {dim}")

    def exchange(self, messengers: Tensor) -> Tensor:
        """[B, nH, nW, C] to the same."""
        above, below, left, right, own = messengers.split([self.dim // 8] * 4 + [self.dim // 2], dim=-1)
        return torch.cat(
            [
                take_shifted(above, 1, -1),
                take_shifted(below, 1, 1),
                take_shifted(left, 2, -1),
                take_shifted(right, 2, 1),
                own,
            ],
            dim=-1,
        )


@torch.fx.wrap
def take_shifted(x: Tensor, dim: int, step: int) -> Tensor:
    """Take for each place along a dimension the value ``step`` places further on, at most the border's."""
    place = torch.arange(x.shape[dim], device=x.device) + step
    return x.index_select(dim, place.clamp(0, x.shape[dim] - 1))


def per_image(value: Tensor, batch: int, like: Tensor) -> Tensor:
    """A number for each window, [n], as a column for the windows of all images, [B * n, 1]."""
    return value.to(like.dtype).repeat(batch).unsqueeze(1)

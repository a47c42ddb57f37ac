"""Messengers that cover more than their window, as the MSG-Transformer paper proposes under "Extensions".

``create_model(..., messengers="shared", coverage=2)`` has one messenger for 2 x 2 windows, and
``create_model(..., messengers="overlapping", margin=1)`` lets each look one token beyond its window.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor

from msgformer.models.attention import biased_attention
from msgformer.models.exchange import Corner, Exchange
from msgformer.models.msg_transformer import (
    Block,
    MsgTransformer,
    Stage,
    WindowAttention,
    first_entries,
    register_messengers,
    with_messengers,
)
from msgformer.models.stochastic_depth import keep_images
from msgformer.models.window import Grid, Size, row_and_column, take_rows, window_grid

torch.fx.wrap("first_entries")  # again, because a wrapped name is looked up in the module that calls it


class SharedPlan(NamedTuple):
    """Which windows share a messenger.

    Attributes:
        group: The messenger of each window, [n].
        grid: B, and rows and columns of messengers.
        inner: The plan of the exchange among them.
    """

    group: Tensor
    grid: Grid
    inner: Any


class SharedExchange(Exchange):
    """The copies of a messenger in its windows become their mean, which takes part in the exchange for all of them.

    Args:
        inner: How messengers exchange information; its regions are counted in messengers, not in windows.
        coverage: A messenger covers coverage x coverage windows.
    """

    def __init__(self, inner: Exchange, coverage: int) -> None:
        super().__init__(inner.dim, inner.region)
        self.inner = inner
        self.coverage = coverage

    def plan(self, grid: Grid, corner: Corner, device: torch.device) -> SharedPlan:
        """Groups of windows from the left top on; those at the right and at the bottom may be smaller."""
        coarse = Grid(grid.batch, *window_grid((grid.height, grid.width), (self.coverage, self.coverage)))
        group = group_windows(grid, coarse.width, self.coverage, device)
        return SharedPlan(group, coarse, self.inner.plan(coarse, corner, device))

    def forward(self, messengers: Tensor, plan: SharedPlan) -> Tensor:
        """[B * n, C] to the same, equal for all windows of a group."""
        batch, height, width = plan.grid
        copies = messengers.unflatten(0, (batch, -1))  # [B, n, C]
        total = copies.new_zeros(batch, height * width, self.dim).index_add(1, plan.group, copies)
        means = total / torch.bincount(plan.group, minlength=height * width).to(total.dtype).unsqueeze(1)
        return take_rows(self.inner(means.flatten(0, 1), plan.inner), batch, plan.group)


@torch.fx.wrap
def group_windows(grid: Grid, groups: int, coverage: int, device: torch.device) -> Tensor:
    """Assign the windows of a grid to groups of coverage x coverage windows.

    Args:
        grid: B, nH and nW.
        groups: Groups per row of the grid.
        coverage: Windows per row and per column of a group.
        device: Device of the result.

    Returns:
        Group of each window, [n].
    """
    row, col = row_and_column(torch.arange(grid.height * grid.width, device=device), grid.width)
    return row // coverage * groups + col // coverage


@register_messengers("shared")
class SharedMessengers(MsgTransformer):
    """One messenger for several windows: each has a copy, and copies become equal in every exchange.

    Args:
        *args: Of `MsgTransformer`.
        coverage: A messenger covers coverage x coverage windows, in every stage.
        **kwargs: Of `MsgTransformer`.

    Raises:
        ValueError: the coverage is below 1.
    """

    def __init__(self, *args: Any, coverage: int = 2, **kwargs: Any) -> None:
        if coverage < 1:
            raise ValueError(f"coverage has to be at least 1, got {coverage}")
        super().__init__(*args, **kwargs)
        self.coverage = coverage
        for stage in self.stages:
            for block in stage.blocks:
                block.exchange = SharedExchange(block.exchange, coverage)

    def first_messengers(self, patches: Tensor) -> Tensor:
        """Messengers for the windows of a map [B, H, W, C], equal in those that share one: [B * n, C]."""
        entry = first_entries(self.stages[0].grid(patches), self.messenger_side, patches.device, self.coverage)
        return self.input_messengers()[0, :, 0].index_select(0, entry)


class Reach(NamedTuple):
    """What messengers see besides their windows.

    Attributes:
        batch: Number of images B.
        tokens: For each window, where the tokens around it stand among all tokens of its image's sequences, [n, m].
        outside: Which of them lie beyond the map, [n, m].
        inner: The plan of the exchange.
    """

    batch: int
    tokens: Tensor
    outside: Tensor
    inner: Any


class ReachPlanner(Exchange):
    """An exchange whose plan also says which tokens lie around each window.

    Args:
        inner: The exchange itself.
        window: Height h and width w of a window.
        margin: Tokens that messengers see beyond each side of their window.
    """

    def __init__(self, inner: Exchange, window: Size, margin: int) -> None:
        super().__init__(inner.dim, inner.region)
        self.inner = inner
        self.window = window
        self.margin = margin

    def plan(self, grid: Grid, corner: Corner, device: torch.device) -> Reach:
        """The frame of tokens around each window, m = (h + 2 margin)(w + 2 margin) - h w."""
        tokens, outside = frame_windows(grid, self.window, self.margin, device)
        return Reach(grid.batch, tokens, outside, self.inner.plan(grid, corner, device))

    def forward(self, messengers: Tensor, plan: Reach) -> Tensor:
        """[B * n, C] to the same."""
        return self.inner(messengers, plan.inner)


@torch.fx.wrap
def frame_windows(grid: Grid, window: Size, margin: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Find the tokens in a frame around each window.

    Args:
        grid: B, nH and nW.
        window: Height h and width w of a window.
        margin: Width of the frame in tokens.
        device: Device of the results.

    Returns:
        `Reach.tokens` and `Reach.outside`.
    """
    tall, wide = window
    side = wide + 2 * margin
    place = torch.arange((tall + 2 * margin) * side, device=device)
    down, right = place // side - margin, place % side - margin
    frame = (down < 0) | (down >= tall) | (right < 0) | (right >= wide)
    index = torch.arange(grid.height * grid.width, device=device).unsqueeze(1)
    row, col = row_and_column(index, grid.width)
    row, col = row * tall + down[frame], col * wide + right[frame]
    outside = (row < 0) | (row >= grid.height * tall) | (col < 0) | (col >= grid.width * wide)
    row, col = row.clamp(0, grid.height * tall - 1), col.clamp(0, grid.width * wide - 1)
    home = row // tall * grid.width + col // wide
    return home * (1 + tall * wide) + 1 + row % tall * wide + col % wide, outside


class ReachingAttention(WindowAttention):
    """Attention inside windows, whose messengers have the keys around their window as well.

    theta_1 of equation 6 is the same for all keys of a messenger, and so cancels out. Where the weights are computed
    explicitly they are [B * n, heads, N, N + m], and the m keys around the window have weight 0 for patches.
    """

    def forward(self, x: Tensor, reach: Reach, queries: int | None = None) -> Tensor:  # type: ignore[override]
        """[B * n, N, C] to the same, or to the first ``queries`` tokens of each."""
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)  # each [B * n, heads, N, C / heads]
        bias = self.position_bias()[:, 1:].unsqueeze(0)  # of patches
        keys, values = (torch.cat([own, self.around(own, reach)], dim=2) for own in (key, value))
        seen = torch.cat([reach.outside.new_ones(reach.outside.shape[0], x.shape[1]), ~reach.outside], dim=1)
        seen = seen.repeat(reach.batch, 1)[:, None, None]  # [B * n, 1, 1, N + m]
        if self.needs_weights(x):
            bias = F.pad(bias, (0, reach.outside.shape[1]), value=float("-inf")).expand(x.shape[0], -1, -1, -1)
            first = bias.new_zeros(seen.shape).masked_fill(~seen, float("-inf")).expand(-1, self.num_heads, -1, -1)
            weights = self.attention_weights(query, keys, torch.cat([first, bias], dim=2))
            attended = self.attn_drop(weights) @ values
        else:
            patches = biased_attention(query[:, :, 1:], key, value, bias, self.dropout)
            messengers = F.scaled_dot_product_attention(query[:, :, :1], keys, values, seen, self.dropout)
            attended = torch.cat([messengers, patches], dim=2)
        return self.proj_drop(self.proj(attended[:, :, :queries].transpose(1, 2).flatten(2)))

    @staticmethod
    def around(heads: Tensor, reach: Reach) -> Tensor:
        """Of the tokens around each window, what all have in heads [B * n, heads, N, d]: [B * n, heads, m, d]."""
        rows = heads.transpose(1, 2).flatten(0, 1).flatten(1)  # [B * n * N, heads * d]
        found = take_rows(rows, reach.batch, reach.tokens.flatten())
        return found.view(heads.shape[0], -1, heads.shape[1], heads.shape[3]).transpose(1, 2)


class ReachingBlock(Block):
    """A block whose attention is told what lies around each window."""

    attention_type = ReachingAttention

    def forward(self, x: Tensor, batch: int, plan: Reach, queries: int | None = None) -> Tensor:
        """Sequences [B * n, N, C] to the same, or to the first ``queries`` tokens of each."""
        kept = keep_images(self.drop_path1, x, batch)
        x = kept.add(x[:, :queries], kept.take(self.attn(self.norm1(x), plan, queries)))
        x = with_messengers(x, self.exchange(x[:, 0].clone(), plan))
        kept = keep_images(self.drop_path2, x, batch)
        return kept.add(x, self.mlp(self.norm2(kept.take(x))))


class ReachingStage(Stage):
    """A stage of such blocks."""

    block_type = ReachingBlock

    def set_window_size(self, window: Size) -> None:
        """Another window size, bias tables resampled to it."""
        super().set_window_size(window)
        for block in self.blocks:
            block.exchange.window = window


@register_messengers("overlapping")
class OverlappingMessengers(MsgTransformer):
    """Messengers whose keys reach into the neighbouring windows; patches see their own window alone, as ever.

    It has the parameters of an ordinary model, and can read its checkpoints.

    Args:
        *args: Of `MsgTransformer`.
        margin: Tokens that messengers see beyond each side of their window.
        **kwargs: Of `MsgTransformer`.

    Raises:
        ValueError: the margin is below 0.
    """

    stage_type = ReachingStage

    def __init__(self, *args: Any, margin: int = 1, **kwargs: Any) -> None:
        if margin < 0:
            raise ValueError(f"margin has to be at least 0, got {margin}")
        super().__init__(*args, **kwargs)
        for stage in self.stages:
            for block in stage.blocks:
                block.exchange = ReachPlanner(block.exchange, self.window_size, margin)

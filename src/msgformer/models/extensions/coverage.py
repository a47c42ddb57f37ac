"""Messengers that cover more than their window, as proposed in section 3.1, "Extensions", of the MSG-Transformer paper.

``create_model(..., messengers="shared", coverage=2)`` has one messenger per 2 x 2 windows, and ``create_model(...,
messengers="overlapping", margin=1)`` lets each messenger attend one token beyond its window.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor

from msgformer.models.attention import biased_attention
from msgformer.models.exchange import Corner, Exchange
from msgformer.models.messenger_registry import register_messengers
from msgformer.models.msg_transformer import (
    Block,
    MsgTransformer,
    Stage,
)
from msgformer.models.stochastic_depth import sample_drop_path
from msgformer.models.window import (
    Grid,
    Size,
    assign_messengers,
    gather_rows,
    replace_messengers,
    row_and_column,
    window_grid,
)
from msgformer.models.window_attention import WindowAttention


class SharedPlan(NamedTuple):
    """Assignment of windows to shared messengers.

    Attributes:
        group: The messenger of each window, [n].
        grid: Sizes B, and rows and columns of messengers.
        inner: The plan of the exchange among them.
    """

    group: Tensor
    grid: Grid
    inner: Any


class SharedExchange(Exchange):
    """Averages the copies of a messenger in its windows, then exchanges information between these means.

    Args:
        inner: The exchange operator; its regions are counted in messengers, not in windows.
        coverage: A messenger covers coverage x coverage windows.
    """

    def __init__(self, inner: Exchange, coverage: int) -> None:
        super().__init__(inner.dim, inner.region)
        self.inner = inner
        self.coverage = coverage

    def plan(self, grid: Grid, corner: Corner, device: torch.device) -> SharedPlan:
        """Group windows from the left top; groups at the right and at the bottom may be smaller.

        Args:
            grid: Sizes B, nH and nW.
            corner: Corner at which regions are anchored.
            device: Device of the tensors in the plan.
        """
        coarse = Grid(grid.batch, *window_grid((grid.height, grid.width), (self.coverage, self.coverage)))
        group = group_windows(grid, coarse.width, self.coverage, device)
        return SharedPlan(group, coarse, self.inner.plan(coarse, corner, device))

    def forward(self, messengers: Tensor, plan: SharedPlan) -> Tensor:
        """Average and exchange messengers.

        Args:
            messengers: Messengers [B * n, C].
            plan: Return value of `plan`.

        Returns:
            Messengers [B * n, C], equal for all windows of a group.
        """
        batch, height, width = plan.grid
        copies = messengers.unflatten(0, (batch, -1))  # [B, n, C]
        total = copies.new_zeros(batch, height * width, self.dim).index_add(1, plan.group, copies)
        means = total / torch.bincount(plan.group, minlength=height * width).to(total.dtype).unsqueeze(1)
        return gather_rows(self.inner(means.flatten(0, 1), plan.inner), batch, plan.group)


@torch.fx.wrap
def group_windows(grid: Grid, groups: int, coverage: int, device: torch.device) -> Tensor:
    """Assign the windows of a grid to groups of coverage x coverage windows.

    Args:
        grid: Sizes B, nH and nW.
        groups: Number of groups per row of the grid.
        coverage: Number of windows per row and per column of a group.
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
            raise ValueError(f"coverage must be at least 1, got {coverage}")
        super().__init__(*args, **kwargs)
        self.coverage = coverage
        for stage in self.stages:
            for block in stage.blocks:
                block.exchange = SharedExchange(block.exchange, coverage)

    def first_messengers(self, patches: Tensor) -> Tensor:
        """Assign initial messengers to the windows of a map [B, H, W, C], equal within a group: [B * n, C]."""
        grid, entries = self.stages[0].grid(patches), self.input_messengers()[0, :, 0]
        return assign_messengers(entries, grid, self.messenger_side, patches.device, self.coverage)


class Reach(NamedTuple):
    """Tokens that messengers attend to besides their window.

    Attributes:
        batch: Number of images B.
        tokens: Per window, the index of the surrounding tokens among all window tokens of its image, [n, m].
        outside: Which of them lie outside the map, [n, m].
        inner: The plan of the exchange.
    """

    batch: int
    tokens: Tensor
    outside: Tensor
    inner: Any


class ReachPlanner(Exchange):
    """An exchange whose plan also contains the tokens around each window.

    Args:
        inner: The exchange operator.
        window: Height h and width w of a window.
        margin: Number of tokens that messengers see beyond each side of their window.
    """

    def __init__(self, inner: Exchange, window: Size, margin: int) -> None:
        super().__init__(inner.dim, inner.region)
        self.inner = inner
        self.window = window
        self.margin = margin

    def plan(self, grid: Grid, corner: Corner, device: torch.device) -> Reach:
        """Find the tokens around each window, m = (h + 2 margin)(w + 2 margin) - h w.

        Args:
            grid: Sizes B, nH and nW.
            corner: Corner at which regions are anchored.
            device: Device of the tensors in the plan.
        """
        tokens, outside = frame_windows(grid, self.window, self.margin, device)
        return Reach(grid.batch, tokens, outside, self.inner.plan(grid, corner, device))

    def forward(self, messengers: Tensor, plan: Reach) -> Tensor:
        """Exchange information between messengers.

        Args:
            messengers: Messengers [B * n, C].
            plan: Return value of `plan`.

        Returns:
            Updated messengers [B * n, C].
        """
        return self.inner(messengers, plan.inner)


@torch.fx.wrap
def frame_windows(grid: Grid, window: Size, margin: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Find the tokens in a frame around each window.

    Args:
        grid: Sizes B, nH and nW.
        window: Height h and width w of a window.
        margin: Width of the frame in tokens.
        device: Device of the results.

    Returns:
        `Reach.tokens` [n, m] and `Reach.outside` [n, m].
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
    """Window attention whose messengers also attend to the tokens around their window.

    theta_1 of eq. 6 is the same for all keys of a messenger, so it cancels in the softmax. Where the weights are
    computed explicitly they are [B * n, heads, N, N + m], and the m keys around the window have weight 0 for patch
    tokens.
    """

    def forward(self, x: Tensor, reach: Reach, num_queries: int | None = None) -> Tensor:  # type: ignore[override]
        """Attend within windows, and from messengers to the tokens around them.

        Args:
            x: Window tokens [B * n, N, C].
            reach: Tokens around each window.
            num_queries: Compute only the first tokens of each window; all of them by default.

        Returns:
            Updated tokens [B * n, N, C], or [B * n, num_queries, C].
        """
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)  # each [B * n, heads, N, C / heads]
        bias = self.position_bias()[:, 1:].unsqueeze(0)  # rows of patch tokens
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
        return self.proj_drop(self.proj(attended[:, :, :num_queries].transpose(1, 2).flatten(2)))

    @staticmethod
    def around(heads: Tensor, reach: Reach) -> Tensor:
        """Gather the keys or values of the tokens around each window.

        Args:
            heads: Keys or values [B * n, heads, N, d].
            reach: Tokens around each window.

        Returns:
            Keys or values [B * n, heads, m, d].
        """
        rows = heads.transpose(1, 2).flatten(0, 1).flatten(1)  # [B * n * N, heads * d]
        found = gather_rows(rows, reach.batch, reach.tokens.flatten())
        return found.view(heads.shape[0], -1, heads.shape[1], heads.shape[3]).transpose(1, 2)


class ReachingBlock(Block):
    """A block whose attention receives the tokens around each window."""

    attention_type = ReachingAttention

    def forward(self, x: Tensor, batch: int, plan: Reach, num_queries: int | None = None) -> Tensor:
        """Apply equations 2 to 4 of the paper.

        Args:
            x: Window tokens [B * n, N, C].
            batch: Number of images B.
            plan: Tokens around each window and the plan of the exchange.
            num_queries: Compute only the first tokens of each window; None for all of them.

        Returns:
            Updated tokens [B * n, N, C], or [B * n, num_queries, C].
        """
        mask = sample_drop_path(self.drop_path1, x, batch)
        x = mask.scatter_add(x[:, :num_queries], mask.gather(self.attn(self.norm1(x), plan, num_queries)))
        x = replace_messengers(x, self.exchange(x[:, 0].clone(), plan))
        mask = sample_drop_path(self.drop_path2, x, batch)
        return mask.scatter_add(x, self.mlp(self.norm2(mask.gather(x))))


class ReachingStage(Stage):
    """A stage of `ReachingBlock`."""

    block_type = ReachingBlock

    def set_window_size(self, window: Size) -> None:
        """Change the window size and resample the bias tables."""
        super().set_window_size(window)
        for block in self.blocks:
            block.exchange.window = window


@register_messengers("overlapping")
class OverlappingMessengers(MsgTransformer):
    """Messengers that also attend to tokens of neighboring windows; patch tokens attend to their own window only.

    Its parameters are those of `MsgTransformer`, whose checkpoints it can load.

    Args:
        *args: Arguments of `MsgTransformer`.
        margin: Number of tokens that messengers see beyond each side of their window.
        **kwargs: Arguments of `MsgTransformer`.

    Raises:
        ValueError: The margin is negative.
    """

    stage_type = ReachingStage

    def __init__(self, *args: Any, margin: int = 1, **kwargs: Any) -> None:
        if margin < 0:
            raise ValueError(f"margin must be at least 0, got {margin}")
        super().__init__(*args, **kwargs)
        for stage in self.stages:
            for block in stage.blocks:
                block.exchange = ReachPlanner(block.exchange, self.window_size, margin)

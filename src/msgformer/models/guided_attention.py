"""Attention of SG-Former: hybrid-scale attention, which measures significance, and self-guided attention.

Ren et al., "SG-Former: Self-guided Transformer with Evolving Token Reallocation", ICCV 2023.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.kernels.index_cache import cache_by_shape
from msgformer.model_parts import MERGE_KINDS, MergeKind, check_heads
from msgformer.models.attention import SoftmaxAttention
from msgformer.models.backbone import Device
from msgformer.models.chunked_attention import attend_and_measure, split_heads
from msgformer.models.conv_layers import LocalPosition
from msgformer.models.reallocation import (
    join_rows,
    merge_groups,
    order_rows,
    rank_by_column,
    rank_by_row,
)
from msgformer.models.window import (
    Grid,
    Size,
    from_windows,
    gather_neighbors,
    map_grid,
    map_size,
    row_and_column,
    to_map,
    to_rows,
    to_windows,
    window_grid,
)

# Opaque to torch.fx, because they branch on sizes or make tensors of them.
torch.fx.wrap("join_rows")
torch.fx.wrap("order_rows")


class Attention(SoftmaxAttention):
    """Base of the three kinds of attention: out = proj(attention + local positional term).

    Where `SoftmaxAttention` computes the weights explicitly, they pass through ``softmax`` and ``attn_drop``: [B, h, n,
    m] for the m keys of self-guided and plain attention. `HybridAttention` has two such modules of its own.

    Args:
        dim: Channels C.
        num_heads: Attention heads h.
        qkv_bias: Whether queries, keys and values have a bias.
        attn_drop: Dropout rate of attention weights.
        proj_drop: Dropout rate after the output projection.
        local_position: Whether to add a local positional term.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        qkv_bias: bool,
        attn_drop: float,
        proj_drop: float,
        local_position: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        super().__init__(attn_drop)
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.qkv_bias = qkv_bias
        self.lepe = LocalPosition(dim, **dd) if local_position else None
        self.proj = nn.Linear(dim, dim, **dd)
        self.proj_drop = nn.Dropout(proj_drop)

    @property
    def factory_args(self) -> dict[str, Any]:
        """Device and type of the parameters, for further layers."""
        return {"device": self.proj.weight.device, "dtype": self.proj.weight.dtype}

    def make_linear(self, out_dim: int) -> nn.Linear:
        """Create a layer for queries, keys or values."""
        return nn.Linear(self.proj.in_features, out_dim, bias=self.qkv_bias, **self.factory_args)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Compute softmax(Q K^T / sqrt(d)) V.

        Args:
            query: Queries [B, h, n, d].
            key: Keys [B, h, m, d].
            value: Values [B, h, m, d].

        Returns:
            Tokens [B, n, C].
        """
        if self.needs_weights(query):
            out = self.attn_drop(self.attention_weights(query, key)) @ value
        else:
            out = F.scaled_dot_product_attention(query, key, value, dropout_p=self.dropout)
        return out.transpose(1, 2).flatten(2)

    def project(self, attended: Tensor, x: Tensor) -> Tensor:
        """Add the local positional term and project the sum.

        Args:
            attended: Output of the attention [B, H, W, C].
            x: Input of the attention [B, H, W, C].

        Returns:
            Tokens [B, H, W, C].
        """
        if self.lepe is not None:
            attended = attended + self.lepe(x)
        return self.proj_drop(self.proj(attended))


class HybridAttention(Attention):
    """Hybrid-scale attention: half the heads attend to a reduced map, half to a window; it measures significance.

    Where weights are computed explicitly, ``global_attn.softmax`` receives those between tokens and the reduced map,
    [B, h / 2, n, m], and ``local_attn.softmax`` those inside windows, [B * nH * nW, h / 2, w * w, w * w].

    Args:
        dim: Channels C.
        num_heads: Attention heads h, an even number.
        reduction: Ratio r of the reduced map.
        window: Height and width of a window.
        **attention_args: Further arguments of `Attention`.
    """

    def __init__(self, dim: int, num_heads: int, reduction: int, window: Size, **attention_args: Any) -> None:
        super().__init__(dim, num_heads, **attention_args)
        del self.softmax, self.attn_drop
        self.global_attn = SoftmaxAttention(attention_args["attn_drop"])
        self.local_attn = SoftmaxAttention(attention_args["attn_drop"])
        self.ratio = reduction
        self.window_size = window
        self.half_heads = num_heads // 2
        self.q_global = self.make_linear(dim // 2)
        self.reduction = nn.Conv2d(dim, dim, reduction, stride=reduction, **self.factory_args)
        self.reduction_norm = nn.LayerNorm(dim, **self.factory_args)
        self.kv_global = self.make_linear(dim)
        self.q_local = self.make_linear(dim // 2)
        self.kv_local = self.make_linear(dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend at both scales to a map [B, H, W, C]; return the same shape and the significance map [B, H, W]."""
        global_out, global_received = self.attend_globally(x)
        local_out, local_received = self.attend_locally(x)
        return self.project(torch.cat([global_out, local_out], dim=-1), x), local_received + global_received

    def attend_globally(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from all tokens to the reduced map.

        Args:
            x: Map [B, H, W, C].

        Returns:
            Output [B, H, W, C / 2], and per token the attention received by its reduced key, [B, H, W].
        """
        batch, height, width = grid = map_grid(x)
        rows, cols = window_grid((height, width), (self.ratio, self.ratio))
        reduced = gather_neighbors(to_rows(x), grid, self.ratio, self.ratio)  # [B * m, r * r, C]
        # A strided convolution whose kernels do not overlap is a matrix product.
        reduced = F.linear(reduced.transpose(1, 2).flatten(1), self.reduction.weight.flatten(1), self.reduction.bias)
        key_value = self.kv_global(F.gelu(self.reduction_norm(reduced)))
        key, value = to_map(key_value, Grid(batch, rows, cols)).flatten(1, 2).chunk(2, dim=-1)  # [B, m, C / 2]
        out, received = self.attend_and_measure(self.global_attn, self.q_global(x).flatten(1, 2), key, value)
        nearest_key = reduced_index(grid, self.ratio, x.device)
        return out.view(batch, height, width, -1), received.index_select(1, nearest_key).view(batch, height, width)

    def attend_locally(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend within windows.

        Args:
            x: Map [B, H, W, C].

        Returns:
            Output [B, H, W, C / 2], and the attention that each token receives in its window, [B, H, W].
        """
        batch, size = x.shape[0], map_size(x)
        windows = to_windows(x, self.window_size)  # [B * nH * nW, w * w, C]
        key, value = self.kv_local(windows).chunk(2, dim=-1)
        out, received = self.attend_and_measure(self.local_attn, self.q_local(windows), key, value)
        out = from_windows(out, self.window_size, batch, size)
        return out, from_windows(received.unsqueeze(-1), self.window_size, batch, size).squeeze(-1)

    def attend_and_measure(
        self, attn: SoftmaxAttention, query: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attend with half of the heads and measure the attention that keys receive.

        Args:
            attn: Module through which explicit weights pass.
            query: Queries [B', n, C / 2].
            key: Keys [B', m, C / 2].
            value: Values [B', m, C / 2].

        Returns:
            Output [B', n, C / 2], and the attention per key, averaged over heads and queries, [B', m], without
            gradient.
        """
        if not attn.needs_weights(query):
            return attend_and_measure(query, key, value, self.half_heads, attn.dropout)
        query, key, value = (split_heads(t, self.half_heads) for t in (query, key, value))
        weights = attn.attention_weights(query, key)
        received = weights.detach().sum(dim=(1, 2)) / (self.half_heads * query.shape[2])
        return (attn.attn_drop(weights) @ value).transpose(1, 2).flatten(2), received


@torch.fx.wrap
@cache_by_shape
def reduced_index(grid: Grid, ratio: int, device: torch.device) -> Tensor:
    """Index of the nearest token of the reduced map for each token of a map.

    Args:
        grid: Sizes B, H and W.
        ratio: Reduction ratio r.
        device: Device of the result.

    Returns:
        Index [H * W].
    """
    _, cols = window_grid((grid.height, grid.width), (ratio, ratio))
    row, col = row_and_column(torch.arange(grid.height * grid.width, device=device), grid.width)
    return row // ratio * cols + col // ratio


class SelfGuidedAttention(Attention):
    """Self-guided attention: keys and values are tokens merged in groups of similar significance.

    Tokens are sorted by significance and cut into groups, large ones where it is low and small ones where it is high.
    Each group becomes one token. This is done twice: ties are broken in row-major order for the first half of the
    heads, and in column-major order for the second half.

    Args:
        dim: Channels C.
        num_heads: Attention heads h, an even number.
        reduction: Reduction ratio r of the stage, which determines the group sizes.
        **attention_args: Further arguments of `Attention`.
    """

    def __init__(self, dim: int, num_heads: int, reduction: int, **attention_args: Any) -> None:
        super().__init__(dim, num_heads, **attention_args)
        self.kinds = MERGE_KINDS[reduction]
        self.q = self.make_linear(dim)
        self.merge = nn.ModuleList(nn.Linear(kind.group, 1, **self.factory_args) for kind in self.kinds)
        self.kv_row = self.make_linear(dim)
        self.kv_column = self.make_linear(dim)

    def forward(self, x: Tensor, significance: Tensor) -> Tensor:
        """Attend to merged tokens.

        Args:
            x: Map [B, H, W, C].
            significance: Significance map of the preceding hybrid block, [B, H, W].

        Returns:
            Map [B, H, W, C].
        """
        by_row = self.merge_tokens(x, rank_by_row(significance))
        by_column = self.merge_tokens(x, rank_by_column(significance))
        key, value = join_halves(self.kv_row(by_row), self.kv_column(by_column))  # [B, m, C]
        query = self.q(x).flatten(1, 2)  # [B, n, C]
        attended = self.attend(*(split_heads(t, self.num_heads) for t in (query, key, value)))
        return self.project(attended.view(x.shape), x)

    def merge_tokens(self, x: Tensor, order: Tensor) -> Tensor:
        """Cut ranked tokens into groups and merge each group.

        Args:
            x: Map [B, H, W, C].
            order: Raster indices of the tokens by rank, [B, n].

        Returns:
            Merged tokens [B, m, C].
        """
        return merge_ranked(to_rows(x), order, self.kinds, self.merge)


def join_halves(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Join the keys and values of both halves of the heads.

    Args:
        first: Keys and values of the first half in one tensor, [B, m, C].
        second: Keys and values of the second half, [B, m, C].

    Returns:
        Keys and values of all heads, [B, m, C] each.
    """
    first_key, first_value = first.chunk(2, dim=-1)
    second_key, second_value = second.chunk(2, dim=-1)
    return torch.cat([first_key, second_key], dim=-1), torch.cat([first_value, second_value], dim=-1)


def merge_ranked(rows: Tensor, order: Tensor, kinds: Sequence[MergeKind], merges: Iterable[Any]) -> Tensor:
    """Cut ranked tokens into groups and merge each group.

    Args:
        rows: Tokens of all images, [B * n, C].
        order: Raster indices of each image's tokens by rank, [B, n]; or k orders per image, [k * B, n].
        kinds: Shares of the tokens and their group sizes.
        merges: One linear layer g -> 1 per kind.

    Returns:
        Merged tokens [k * B, m, C].
    """
    batch, total = order.shape
    order = order_rows(order, rows.shape[0])
    start, quarters, merged = 0, 0, []
    for kind, merge in zip(kinds, merges, strict=True):
        quarters += kind.quarters
        end = total * quarters // 4
        merged.append(merge_groups(rows, order, start, end, merge))
        start = end
    return join_rows(merged, batch)


class PlainAttention(Attention):
    """Self-attention over all tokens (stage 4).

    Args:
        dim: Channels C.
        num_heads: Attention heads h.
        **attention_args: Further arguments of `Attention`.
    """

    def __init__(self, dim: int, num_heads: int, **attention_args: Any) -> None:
        super().__init__(dim, num_heads, **attention_args)
        self.q = self.make_linear(dim)
        self.kv = self.make_linear(2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over all tokens of a map [B, H, W, C]; same shape."""
        query, (key, value) = self.q(x), self.kv(x).chunk(2, dim=-1)
        heads = (split_heads(t.flatten(1, 2), self.num_heads) for t in (query, key, value))
        return self.project(self.attend(*heads).view(x.shape), x)


HYBRID: dict[str, Any] = {"hybrid": HybridAttention}
"""Attention that measures significance, by name; `msgformer.models.ablations.sg_former` adds alternatives."""

GUIDED: dict[str, Any] = {"significance": SelfGuidedAttention}
"""Attention that merges tokens, by name; only subclasses of `SelfGuidedAttention` receive a significance map."""

"""Attention to compare SG-Former's with, by name: ``create_model("sgformer_small", reallocation="uniform")``.

Each changes one thing: the scales that significance is measured at, or what merging tokens goes by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor

from msgformer.models.reallocation import MERGE_KINDS, MergeKind, rank_by_row
from msgformer.models.sg_former import (
    GUIDED,
    HYBRID,
    Attention,
    HybridAttention,
    SelfGuidedAttention,
    join_halves,
    split_heads,
)


class LocalAttention(HybridAttention):
    """All heads look at a window; significance is measured there alone."""

    def __init__(self, dim: int, num_heads: int, **attention_args: Any) -> None:
        super().__init__(dim, num_heads, **attention_args)
        del self.global_attn, self.q_global, self.reduction, self.reduction_norm, self.kv_global
        self.half_heads = num_heads
        self.q_local = self.make_linear(dim)
        self.kv_local = self.make_linear(2 * dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, H, W, C] to the same, and the significance map [B, H, W]."""
        near, received = self.attend_locally(x)
        return self.project(near, x), received


class GlobalAttention(HybridAttention):
    """All heads look at the reduced map; significance is measured there alone."""

    def __init__(self, dim: int, num_heads: int, **attention_args: Any) -> None:
        super().__init__(dim, num_heads, **attention_args)
        del self.local_attn, self.q_local, self.kv_local
        self.half_heads = num_heads
        self.q_global = self.make_linear(dim)
        self.kv_global = self.make_linear(2 * dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, H, W, C] to the same, and the significance map [B, H, W]."""
        wide, received = self.attend_globally(x)
        return self.project(wide, x), received


class OneOrderAttention(SelfGuidedAttention):
    """Tokens are ranked and merged once, row by row where significances are equal, for all heads."""

    def __init__(self, dim: int, num_heads: int, **attention_args: Any) -> None:
        super().__init__(dim, num_heads, **attention_args)
        del self.kv_row, self.kv_column
        self.kv = self.make_linear(2 * dim)

    def forward(self, x: Tensor, significance: Tensor) -> Tensor:
        """[B, H, W, C] and the map [B, H, W] of the hybrid block before to [B, H, W, C]."""
        key, value = self.kv(self.merge_tokens(x, rank_by_row(significance))).chunk(2, dim=-1)  # [B, m, C]
        heads = (split_heads(t, self.num_heads) for t in (self.q(x).flatten(1, 2), key, value))
        return self.project(self.attend(*heads).view(x.shape), x)


class RandomAttention(SelfGuidedAttention):
    """Tokens are ranked at random: anew in each step of a training, always alike for a size in evaluation."""

    def forward(self, x: Tensor, significance: Tensor) -> Tensor:
        """[B, H, W, C] to the same; of the map [B, H, W] only the size matters."""
        return super().forward(x, self.random_map(significance))

    def random_map(self, like: Tensor) -> Tensor:
        """Numbers in the place of significances, [B, H, W]."""
        if self.training:
            return torch.rand_like(like)
        return fixed_noise(like)


class UniformAttention(Attention):
    """Keys and values are means of neighbours, as many as significance would make, all of the same size.

    The first half of the heads takes neighbours in rows, the second in columns.

    Args:
        dim: Channels C.
        num_heads: Attention heads h, an even number.
        reduction: Ratio r of the stage, which decides how many tokens are left.
        **attention_args: Further arguments of `Attention`.
    """

    def __init__(self, dim: int, num_heads: int, reduction: int, **attention_args: Any) -> None:
        super().__init__(dim, num_heads, **attention_args)
        self.kinds = MERGE_KINDS[reduction]
        self.q = self.make_linear(dim)
        self.kv_row = self.make_linear(dim)
        self.kv_column = self.make_linear(dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to the same."""
        by_row, by_column = self.merge_neighbours(x), self.merge_neighbours(x.transpose(1, 2))
        key, value = join_halves(self.kv_row(by_row), self.kv_column(by_column))  # [B, m, C]
        heads = (split_heads(t, self.num_heads) for t in (self.q(x).flatten(1, 2), key, value))
        return self.project(self.attend(*heads).view(x.shape), x)

    def merge_neighbours(self, x: Tensor) -> Tensor:
        """Tokens [B, H, W, C] in raster order, averaged in m groups: [B, m, C]."""
        tokens = x.flatten(1, 2).transpose(1, 2)  # [B, C, n]
        return average_groups(tokens, self.kinds).transpose(1, 2)


@torch.fx.wrap
def average_groups(tokens: Tensor, kinds: Sequence[MergeKind]) -> Tensor:
    """Average neighbors to as many tokens as self-guided attention would leave: [B, C, n] to [B, C, m]."""
    total = tokens.shape[2]
    merged = start = quarters = 0
    for kind in kinds:
        quarters += kind.quarters
        end = total * quarters // 4
        merged += max(1, -(-(end - start) // kind.group))
        start = end
    return F.adaptive_avg_pool1d(tokens, min(merged, total))


@torch.fx.wrap
def fixed_noise(like: Tensor) -> Tensor:
    """Return numbers from 0 to 1 that depend on the size alone, [B, H, W]."""
    place = torch.arange(like[0].numel(), device=like.device).view(like.shape[1:])
    return ((place + 1) * 12.9898).sin().mul(43758.5453).frac().abs().expand(like.shape)


HYBRID.update({"local": LocalAttention, "global": GlobalAttention})
GUIDED.update({"one_order": OneOrderAttention, "uniform": UniformAttention, "random": RandomAttention})

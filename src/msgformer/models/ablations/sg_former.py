"""Ablations of SG-Former's attention, by name: ``create_model("sgformer_small", reallocation="uniform")``.

Each changes one thing: the scales at which significance is measured, or the criterion for merging tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor

from msgformer.model_parts import MERGE_KINDS, MergeKind
from msgformer.models.chunked_attention import split_heads
from msgformer.models.guided_attention import (
    GUIDED,
    HYBRID,
    Attention,
    HybridAttention,
    SelfGuidedAttention,
    join_halves,
)
from msgformer.models.reallocation import rank_by_row


class LocalAttention(HybridAttention):
    """All heads attend within a window, where significance is measured.

    Args:
        dim: Channels C.
        num_heads: Attention heads h, an even number.
        **attention_args: Further arguments of `HybridAttention`.
    """

    def __init__(self, dim: int, num_heads: int, **attention_args: Any) -> None:
        super().__init__(dim, num_heads, **attention_args)
        del self.global_attn, self.q_global, self.reduction, self.reduction_norm, self.kv_global
        self.half_heads = num_heads
        self.q_local = self.make_linear(dim)
        self.kv_local = self.make_linear(2 * dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend within windows of a map [B, H, W, C]; return the same shape and the significance map [B, H, W]."""
        local_out, received = self.attend_locally(x)
        return self.project(local_out, x), received


class GlobalAttention(HybridAttention):
    """All heads attend to the reduced map, where significance is measured.

    Args:
        dim: Channels C.
        num_heads: Attention heads h, an even number.
        **attention_args: Further arguments of `HybridAttention`.
    """

    def __init__(self, dim: int, num_heads: int, **attention_args: Any) -> None:
        super().__init__(dim, num_heads, **attention_args)
        del self.local_attn, self.q_local, self.kv_local
        self.half_heads = num_heads
        self.q_global = self.make_linear(dim)
        self.kv_global = self.make_linear(2 * dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend to the reduced map from [B, H, W, C]; return the same shape and the significance map [B, H, W]."""
        global_out, received = self.attend_globally(x)
        return self.project(global_out, x), received


class OneOrderAttention(SelfGuidedAttention):
    """Ranks and merges tokens once for all heads, with ties in row-major order.

    Args:
        dim: Channels C.
        num_heads: Attention heads h, an even number.
        **attention_args: Further arguments of `SelfGuidedAttention`.
    """

    def __init__(self, dim: int, num_heads: int, **attention_args: Any) -> None:
        super().__init__(dim, num_heads, **attention_args)
        del self.kv_row, self.kv_column
        self.kv = self.make_linear(2 * dim)

    def forward(self, x: Tensor, significance: Tensor) -> Tensor:
        """Attend to merged tokens.

        Args:
            x: Map [B, H, W, C].
            significance: Significance map of the preceding hybrid block, [B, H, W].

        Returns:
            Map [B, H, W, C].
        """
        key, value = self.kv(self.merge_tokens(x, rank_by_row(significance))).chunk(2, dim=-1)  # [B, m, C]
        heads = (split_heads(t, self.num_heads) for t in (self.q(x).flatten(1, 2), key, value))
        return self.project(self.attend(*heads).view(x.shape), x)


class RandomAttention(SelfGuidedAttention):
    """Ranks tokens at random: differently in each training step, and the same per map size in evaluation."""

    def forward(self, x: Tensor, significance: Tensor) -> Tensor:
        """Attend to randomly merged tokens.

        Args:
            x: Map [B, H, W, C].
            significance: Significance map [B, H, W], of which only the shape is used.

        Returns:
            Map [B, H, W, C].
        """
        return super().forward(x, self.random_map(significance))

    def random_map(self, like: Tensor) -> Tensor:
        """Return random significances [B, H, W]."""
        if self.training:
            return torch.rand_like(like)
        return fixed_noise(like)


class UniformAttention(Attention):
    """Keys and values are means of groups of adjacent tokens, as many as self-guided attention would have.

    Groups follow rows for the first half of the heads, and columns for the second half.

    Args:
        dim: Channels C.
        num_heads: Attention heads h, an even number.
        reduction: Reduction ratio r of the stage, which determines the number of merged tokens.
        **attention_args: Further arguments of `Attention`.
    """

    def __init__(self, dim: int, num_heads: int, reduction: int, **attention_args: Any) -> None:
        super().__init__(dim, num_heads, **attention_args)
        self.kinds = MERGE_KINDS[reduction]
        self.q = self.make_linear(dim)
        self.kv_row = self.make_linear(dim)
        self.kv_column = self.make_linear(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Attend to merged tokens of a map [B, H, W, C]; same shape."""
        by_row, by_column = self.merge_neighbors(x), self.merge_neighbors(x.transpose(1, 2))
        key, value = join_halves(self.kv_row(by_row), self.kv_column(by_column))  # [B, m, C]
        heads = (split_heads(t, self.num_heads) for t in (self.q(x).flatten(1, 2), key, value))
        return self.project(self.attend(*heads).view(x.shape), x)

    def merge_neighbors(self, x: Tensor) -> Tensor:
        """Average the tokens of a map [B, H, W, C] in m groups along the raster order: [B, m, C]."""
        tokens = x.flatten(1, 2).transpose(1, 2)  # [B, C, n]
        return average_groups(tokens, self.kinds).transpose(1, 2)


@torch.fx.wrap
def average_groups(tokens: Tensor, kinds: Sequence[MergeKind]) -> Tensor:
    """Average adjacent tokens to as many tokens as self-guided attention would have.

    Args:
        tokens: Tokens [B, C, n].
        kinds: Shares of the tokens and their group sizes.

    Returns:
        Merged tokens [B, C, m].
    """
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
    """Return numbers from 0 to 1 that depend on the map size only, [B, H, W]."""
    place = torch.arange(like[0].numel(), device=like.device).view(like.shape[1:])
    return ((place + 1) * 12.9898).sin().mul(43758.5453).frac().abs().expand(like.shape)


HYBRID.update({"local": LocalAttention, "global": GlobalAttention})
GUIDED.update({"one_order": OneOrderAttention, "uniform": UniformAttention, "random": RandomAttention})

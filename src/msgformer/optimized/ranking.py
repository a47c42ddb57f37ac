"""SG-Former's token reallocation in optimized models: C++ kernels on CPUs, PyTorch elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from msgformer.kernels.cpu.library import CHANNELS, call, integers, is_loaded, is_plain, operator
from msgformer.model_parts import MergeKind
from msgformer.models.guided_attention import merge_ranked
from msgformer.models.reallocation import rank_by_column, rank_by_row
from msgformer.models.window import to_rows


def merge_both_orders(x: Tensor, significance: Tensor, kinds: Sequence[MergeKind], merges: Iterable[Any]) -> Tensor:
    """Rank tokens by significance, with ties in row-major and in column-major order, and merge them in groups.

    Args:
        x: Map [B, H, W, C].
        significance: Significance map [B, H, W].
        kinds: Shares of the tokens and their group sizes.
        merges: One linear layer g -> 1 per kind.

    Returns:
        Merged tokens [2B, m, C]: of all images in row-major order first, then in column-major order.
    """
    if not (is_plain(x) and is_plain(significance) and x.shape[-1] % CHANNELS == 0 and x.numel() and is_loaded()):
        orders = torch.cat([rank_by_row(significance), rank_by_column(significance)])  # [2B, n]
        return merge_ranked(to_rows(x), orders, kinds, merges)
    layers = list(merges)
    weights = torch.cat([layer.weight.flatten() for layer in layers])
    biases = torch.cat([layer.bias for layer in layers])
    tokens = significance.shape[1] * significance.shape[2]
    ends = [tokens * quarters // 4 for quarters in accumulate(kind.quarters for kind in kinds)]
    return native_merge(x, native_rank(significance), weights, biases, [kind.group for kind in kinds], ends)


def _orders(significance: Tensor) -> Tensor:
    batch, height, width = significance.shape
    return significance.new_empty(2 * batch, height * width, dtype=torch.int64)


@operator("native_rank", _orders)
def native_rank(significance: Tensor) -> Tensor:
    """Rank tokens of a significance map [B, H, W], ties in row-major, then in column-major order: indices [2B, n]."""
    orders = _orders(significance)
    call("rank_twice", orders, significance.contiguous(), *significance.shape)
    return orders


def _merged(x: Tensor, orders: Tensor, _w: Tensor, _b: Tensor, groups: Sequence[int], ends: Sequence[int]) -> Tensor:
    starts = [0, *ends[:-1]]
    counts = [max(1, -(-(end - start) // g)) for start, end, g in zip(starts, ends, groups, strict=True)]
    return x.new_empty(orders.shape[0], sum(counts), x.shape[-1])


@operator("native_merge", _merged)
def native_merge(
    x: Tensor, orders: Tensor, weights: Tensor, biases: Tensor, groups: Sequence[int], ends: Sequence[int]
) -> Tensor:
    """Merge ranked tokens in groups by the C++ kernel.

    Args:
        x: Map [B, H, W, C].
        orders: Raster indices of each image's tokens by rank, [k * B, n].
        weights: Weights of all kinds, [sum of groups].
        biases: One bias per kind, [kinds].
        groups: Tokens per group, one number per kind.
        ends: Rank after the last one of each kind.

    Returns:
        Merged tokens [k * B, m, C].
    """
    x, out = x.contiguous(), _merged(x, orders, weights, biases, groups, ends)
    (batch, tokens), channels = (x.shape[0], orders.shape[1]), x.shape[-1]
    sizes = len(groups), orders.shape[0] // batch, batch, tokens, channels, out.shape[1]
    call("merge_ranked", out, x, orders, weights, biases, integers(*groups), integers(*ends), *sizes)
    return out

"""Token reallocation of SG-Former: rank tokens by significance, cut them into groups, merge each group.

Group sizes are constants, so a larger map gives more groups. Every token is in exactly one group.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.fx
from torch import Tensor

from msgformer.kernels.graph_capture import are_fixed
from msgformer.models.window import row_and_column


def rank_by_row(significance: Tensor) -> Tensor:
    """Rank tokens by significance, least significant first, ties in row-major order.

    Args:
        significance: Significance map [B, H, W].

    Returns:
        Raster indices of the tokens by rank, [B, n].
    """
    return stable_order(significance.flatten(1))


def rank_by_column(significance: Tensor) -> Tensor:
    """Rank tokens by significance, least significant first, ties in column-major order.

    Args:
        significance: Significance map [B, H, W].

    Returns:
        Raster indices of the tokens by rank, [B, n].
    """
    _, height, width = significance.shape
    col, row = row_and_column(stable_order(significance.transpose(1, 2).flatten(1)), height)
    return row * width + col


def stable_order(values: Tensor) -> Tensor:
    """Sort each row in ascending order and keep the order of equal values; return indices.

    torch's ONNX exporter can't translate a stable sort. It translates other sorts to ONNX's TopK, which is stable.

    Args:
        values: Values [B, n].

    Returns:
        Indices [B, n].
    """
    if torch.onnx.is_in_onnx_export():
        return values.argsort(dim=1)
    return values.argsort(dim=1, stable=True)


def merge_groups(rows: Tensor, order: Tensor, start: int, end: int, merge: Any) -> Tensor:
    """Merge every g tokens of consecutive rank to one by learned weights that all channels share.

    Zeros complete an incomplete last group; an empty range gives one group of zeros.

    Args:
        rows: Tokens of all images, [B * n, C].
        order: Row of each image's tokens by rank, [B, n].
        start: First rank to merge.
        end: Rank after the last one to merge.
        merge: Linear layer g -> 1.

    Returns:
        Merged tokens [B * max(1, ceil((end - start) / g)), C].
    """
    group = merge.in_features
    tokens = gather_groups(rows, order, start, end, group)
    if group == 1:  # a batch of 1 x 1 products takes ten times as long
        return tokens * merge.weight + merge.bias
    return (merge.weight @ tokens.unflatten(0, (-1, group))).squeeze(1) + merge.bias  # of [B * groups, g, C]


@torch.fx.wrap
def gather_groups(rows: Tensor, order: Tensor, start: int, end: int, group: int) -> Tensor:
    """Gather the tokens that `merge_groups` merges; zeros complete the last group.

    Args:
        rows: Tokens of all images, [B * n, C].
        order: Row of each image's tokens by rank, [B, n].
        start: First rank to merge.
        end: Rank after the last one to merge.
        group: Tokens per group, g.

    Returns:
        Tokens [B * groups * g, C].
    """
    batch, total = order.shape
    if are_fixed(start, end) and end > start and (end - start) % group == 0:
        return rows.index_select(0, order[:, start:end].flatten())
    groups: Any = (end - start + group - 1) // group
    # The built-in max would specialize a captured graph, and torch.jit.trace knows no sym_max.
    groups = torch.sym_max(1, groups) if torch.compiler.is_compiling() else max(1, groups)
    rank = start + torch.arange(groups * group, device=rows.device)
    tokens = rows.index_select(0, order.index_select(1, rank.clamp(max=total - 1)).flatten())
    return tokens.masked_fill((rank >= end).repeat(batch).unsqueeze(1), 0)


def order_rows(order: Tensor, rows: int) -> Tensor:
    """Turn raster indices per image into row indices of the whole batch.

    Args:
        order: Raster indices by rank, [k * B, n].
        rows: Number of rows of all images, B * n.

    Returns:
        Row indices [k * B, n].
    """
    batch, total = order.shape
    _, first = row_and_column(torch.arange(batch, device=order.device) * total, rows)  # row of each image
    return order + first.unsqueeze(1)


def join_rows(parts: list[Tensor], batch: int) -> Tensor:
    """Concatenate the tokens of each image from several parts.

    Args:
        parts: Rows of all images, [B * m, C] per part, m differing between parts.
        batch: Number of images B.

    Returns:
        Tokens [B, sum of m, C].
    """
    if are_fixed(batch, *(part.shape[0] for part in parts)):
        return torch.cat([part.unflatten(0, (batch, -1)) for part in parts], dim=1)
    # A part may have one row per image, for which `unflatten` would specialize a captured graph: gather rows instead.
    counts = [part.shape[0] // batch for part in parts]
    place = torch.arange(batch * sum(counts), device=parts[0].device)
    image, row = row_and_column(place, sum(counts))
    source, before = torch.zeros_like(place), 0
    for count in counts:
        source = torch.where(row >= before, batch * before + image * count + row - before, source)
        before = before + count
    return torch.cat(parts).index_select(0, source).unflatten(0, (batch, -1))

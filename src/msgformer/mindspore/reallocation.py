"""Token reallocation of SG-Former: rank tokens by significance, cut them into groups, merge each group.

Group sizes are constants, so a larger map gives more groups. Every token is in exactly one group.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops


def rank_by_row(significance: Tensor) -> Tensor:
    """Rank tokens by significance, least significant first, ties in row-major order.

    Args:
        significance: Significance map [B, H, W].

    Returns:
        Raster indices of the tokens by rank, [B, n].
    """
    flat = significance.reshape(significance.shape[0], -1)
    rounded = flat.astype(ms.float32)
    if flat.dtype != ms.float64:
        return ops.argsort(rounded, 1)  # stable on CPUs
    # MindSpore sorts float64 by values rounded to float32: sort by the rounding error first, then by the rounded value.
    order = ops.argsort((flat - rounded.astype(ms.float64)).astype(ms.float32), 1)
    return ops.gather_elements(order, 1, ops.argsort(ops.gather_elements(rounded, 1, order), 1))


def rank_by_column(significance: Tensor) -> Tensor:
    """Rank tokens by significance, least significant first, ties in column-major order.

    Args:
        significance: Significance map [B, H, W].

    Returns:
        Raster indices of the tokens by rank, [B, n].
    """
    _, height, width = significance.shape
    order = rank_by_row(significance.swapaxes(1, 2))
    return order % height * width + order // height


def merge_groups(x: Tensor, order: Tensor, start: int, end: int, merge: nn.Cell) -> Tensor:
    """Merge every g tokens of consecutive rank to one by learned weights that all channels share.

    Zeros complete an incomplete last group; an empty range gives one group of zeros.

    Args:
        x: Tokens of all images, [B * n, C].
        order: Row of each image's tokens by rank, [B, n].
        start: First rank to merge.
        end: Rank after the last one to merge.
        merge: Linear layer g -> 1.

    Returns:
        Merged tokens [B, max(1, ceil((end - start) / g)), C].
    """
    batch, channels, group = order.shape[0], x.shape[1], merge.in_channels
    groups = max(1, (end - start + group - 1) // group)
    missing = groups * group - (end - start)
    parts = []
    if end > start:
        tokens = ops.gather(x, order[:, start:end].reshape(-1), 0)
        parts.append(tokens.reshape(batch, end - start, channels))
    if missing > 0:
        parts.append(ops.zeros((batch, missing, channels), x.dtype))
    tokens = ops.cat(parts, 1).reshape(batch, groups, group, channels)
    return ops.sum(tokens * merge.weight.swapaxes(0, 1), 2) + merge.bias

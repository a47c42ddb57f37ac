"""Token reallocation of SG-Former: tokens are ranked by significance, cut into groups, and merged.

Group sizes are constants, so a larger map gives more groups. Every token is in exactly one group.
"""

from __future__ import annotations

from typing import NamedTuple

import mindspore as ms
from mindspore import Tensor, nn, ops


class MergeKind(NamedTuple):
    """Tokens that are merged alike: a share of all tokens, by rank of significance, in groups of one size."""

    quarters: int
    group: int


MERGE_KINDS: dict[int, tuple[MergeKind, ...]] = {
    8: (MergeKind(1, 196), MergeKind(2, 56), MergeKind(1, 28)),
    4: (MergeKind(1, 49), MergeKind(2, 14), MergeKind(1, 7)),
    2: (MergeKind(2, 2), MergeKind(2, 1)),
}
"""By reduction ratio r, from the least significant tokens to the most."""


def rank_by_row(significance: Tensor) -> Tensor:
    """Raster indices of tokens, least significant first, equal ones row by row: [B, H, W] to [B, n]."""
    flat = significance.reshape(significance.shape[0], -1)
    rounded = flat.astype(ms.float32)
    if flat.dtype != ms.float64:
        return ops.argsort(rounded, 1)  # stable on CPUs
    # A sort of float64 compares numbers rounded to float32: first by what that leaves over, then by what it keeps.
    order = ops.argsort((flat - rounded.astype(ms.float64)).astype(ms.float32), 1)
    return ops.gather_elements(order, 1, ops.argsort(ops.gather_elements(rounded, 1, order), 1))


def rank_by_column(significance: Tensor) -> Tensor:
    """Raster indices of tokens, least significant first, equal ones column by column: [B, H, W] to [B, n]."""
    _, height, width = significance.shape
    order = rank_by_row(significance.swapaxes(1, 2))
    return order % height * width + order // height


def merge_groups(x: Tensor, order: Tensor, start: int, end: int, merge: nn.Cell) -> Tensor:
    """Every g tokens that follow each other in rank to one, by weights that all channels share.

    An incomplete last group is completed by zeros; no tokens at all make one group of zeros.

    Args:
        x: Tokens of all images, [B * n, C].
        order: Rows of each image's tokens by rank, [B, n].
        start: First rank to merge.
        end: The rank after the last.
        merge: Linear layer g -> 1.

    Returns:
        [B, max(1, ceil((end - start) / g)), C]
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

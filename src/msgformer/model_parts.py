"""Parts that the PyTorch and MindSpore models share: token groups, position tables and checks of settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from msgformer.model_names import nearest


class MergeKind(NamedTuple):
    """A share of all tokens, by rank of significance, that SG-Former merges in groups of one size.

    Attributes:
        quarters: Number of quarters of all tokens.
        group: Tokens per group, g.
    """

    quarters: int
    group: int


MERGE_KINDS: dict[int, tuple[MergeKind, ...]] = {
    8: (MergeKind(1, 196), MergeKind(2, 56), MergeKind(1, 28)),
    4: (MergeKind(1, 49), MergeKind(2, 14), MergeKind(1, 7)),
    2: (MergeKind(2, 2), MergeKind(2, 1)),
}
"""Groups per reduction ratio r of SG-Former, from the least to the most significant tokens."""


def relative_position_index(window: tuple[int, int]) -> np.ndarray:
    """Index of each pair of tokens into the entries b^rel, theta_2, theta_1 (eq. 6 of the MSG-Transformer paper).

    Args:
        window: Height h and width w of a window.

    Returns:
        Integers [N, N], N = 1 + h * w; rows are queries, and token 0 is the MSG token. Entries 0 to (2h-1)(2w-1)-1 are
        b^rel by relative position, the next one is theta_2 (a patch token attends to the MSG token), and the last one
        is theta_1 (the MSG token attends to any token).
    """
    height, width = window
    token = np.arange(height * width)
    row, col = token // width, token % width
    down, right = row[:, None] - row + height - 1, col[:, None] - col + width - 1
    theta_2 = (2 * height - 1) * (2 * width - 1)
    index = np.full((1 + len(token), 1 + len(token)), theta_2, np.int64)
    index[1:, 1:] = down * (2 * width - 1) + right
    index[0, :] = theta_2 + 1
    return index


def sincos_position(size: tuple[int, int], dim: int) -> np.ndarray:
    """Compute the two-dimensional sine-cosine position embedding of MAE, from which SG-Former starts.

    Args:
        size: Height H and width W of the grid.
        dim: Channels C; the first half encodes columns.

    Returns:
        Embedding [1, H * W, C] in float32.

    Raises:
        ValueError: The number of channels is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"the position embedding needs embed_dims[0] divisible by 4, got {dim}")
    frequencies = 10000.0 ** -(np.arange(dim // 4) / (dim // 4))
    token = np.arange(size[0] * size[1])
    parts = []
    for place in (token % size[1], token // size[1]):
        angles = place[:, None] * frequencies
        parts += [np.sin(angles), np.cos(angles)]
    return np.concatenate(parts, axis=1).astype(np.float32)[None]


def check_choice(setting: str, name: str, known: Mapping[str, Any]) -> None:
    """Check that a name is known.

    Args:
        setting: Name of the setting.
        name: Its value.
        known: Known values.

    Raises:
        ValueError: Naming the setting, its value and the known names.
    """
    if name not in known:
        raise ValueError(f"unknown {setting} {name!r}, known: {', '.join(known)}{nearest(name, [*known])}")


def check_stages(**settings: tuple[int, ...]) -> None:
    """Check that all settings have the same number of stages.

    Raises:
        ValueError: Naming each setting and its value.
    """
    if len({len(setting) for setting in settings.values()}) != 1:
        given = ", ".join(f"{name}={tuple(setting)}" for name, setting in settings.items())
        raise ValueError(f"each setting needs one entry per stage, got {given}")


def check_heads(dim: int, num_heads: int) -> None:
    """Check that channels are divisible by the number of heads.

    Args:
        dim: Channels C.
        num_heads: Attention heads.

    Raises:
        ValueError: Naming both numbers.
    """
    if num_heads < 1 or dim % num_heads:
        raise ValueError(f"{dim} channels are not divisible by {num_heads} heads")


def check_attention(dim: int, num_heads: int, reduction: int) -> None:
    """Check the sizes of the attention of a stage of SG-Former.

    Args:
        dim: Channels C.
        num_heads: Attention heads.
        reduction: Reduction ratio r.

    Raises:
        ValueError: Naming the setting, its value and the accepted values.
    """
    if reduction != 1 and reduction not in MERGE_KINDS:
        raise ValueError(f"reductions must be 8, 4, 2 or 1, got {reduction}")
    if dim % num_heads:
        raise ValueError(
            f"a stage of {dim} channels can't have {num_heads} heads: embed_dims must be a multiple of num_heads"
        )
    if reduction != 1 and num_heads % 2:
        raise ValueError(f"a stage with reduction {reduction} needs an even number of heads, got num_heads {num_heads}")

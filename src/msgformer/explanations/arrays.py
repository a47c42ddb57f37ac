"""Traced values of a model as arrays, and their description for JSON."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from msgformer.explanations.messengers import MessengerBlock
from msgformer.explanations.significance import SignificanceBlock

Block = MessengerBlock | SignificanceBlock


def block_name(block: Block) -> str:
    """Return STAGE.BLOCK, both counted from 1."""
    return f"{block.stage}.{block.block}"


def block_arrays(block: Block) -> dict[str, Tensor]:
    """Return the traced arrays of a block; their names end with the name of the block."""
    arrays = messenger_arrays(block) if isinstance(block, MessengerBlock) else significance_arrays(block)
    return {f"{name}.{block_name(block)}": value.contiguous() for name, value in arrays.items()}


def messenger_arrays(block: MessengerBlock) -> dict[str, Tensor]:
    """Return the arrays of an MSG-Transformer block; its n windows are in raster order.

    Returns:
        ``attention`` [heads, n, 1 + h * w]; ``sources`` [n, C], or ``shares`` [n, n] if the exchange mixes channels;
        ``reach`` [n, n of stage 1]; and, if gradients were measured, ``gradients`` [k, H, W] and ``gradient_windows``
        [k].
    """
    arrays = {"attention": block.attention, "reach": block.reach}
    if block.routes.sources is None:
        arrays["shares"] = block.routes.shares
    else:
        arrays["sources"] = block.routes.sources.int()
    if block.gradients:
        arrays["gradient_windows"] = torch.tensor(list(block.gradients), dtype=torch.int32)
        arrays["gradients"] = torch.stack(list(block.gradients.values()))
    return arrays


def significance_arrays(block: SignificanceBlock) -> dict[str, Tensor]:
    """Return the arrays of a hybrid block of an SG-Former.

    Returns:
        ``significance`` [H, W]; and, if a self-guided block follows, ``groups`` and ``groups_by_column`` [H, W], the
        group of each token in row-major and column-major order.
    """
    if block.groups is None:
        return {"significance": block.significance}
    groups, (rows, cols) = block.groups, block.significance.shape
    by_row, by_column = (groups.map(order, (rows, cols)) for order in (groups.by_row, groups.by_column))
    return {"significance": block.significance, "groups": by_row.int(), "groups_by_column": by_column.int()}


def block_record(block: Block) -> dict[str, Any]:
    """Describe a block and its arrays in plain values."""
    record: dict[str, Any] = {"stage": block.stage, "block": block.block, "stride": block.stride}
    if isinstance(block, MessengerBlock):
        record |= {"grid": block.grid, "window": block.window, "exchange": block.exchange}
        record["windows_known"] = block.reach.sum(dim=1).tolist()
    elif block.groups is not None:
        record["merged_by_block"] = block.groups.block
        record["kinds"] = [kind._asdict() for kind in block.groups.kinds]
        record["kind_of_group"] = block.groups.kind_of_group
    return record | {"arrays": sorted(block_arrays(block))}

"""What an SG-Former makes of an image: significance maps, and the groups that tokens are merged in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from msgformer.explanations.hooks import watched
from msgformer.models.reallocation import MergeKind, rank_by_column, rank_by_row
from msgformer.models.sg_former import HybridAttention, SelfGuidedAttention, SgFormer
from msgformer.models.window import Size


@dataclass(frozen=True)
class TokenGroups:
    """How a self-guided block merged the n tokens of a map into groups.

    Attributes:
        block: Number of the block in its stage, from 1 on.
        kinds: Kinds of groups, from the least significant tokens to the most.
        kind_of_group: Kind of each group.
        group_of_rank: Group of each token, tokens by rank of significance, [n].
        by_row: Raster indices of the tokens by rank, equal ones in row-major order, as half the heads see them, [n].
        by_column: The same, equal ones in column-major order, as the other half does, [n].
    """

    block: int
    kinds: tuple[MergeKind, ...]
    kind_of_group: list[int]
    group_of_rank: Tensor
    by_row: Tensor
    by_column: Tensor

    def map(self, order: Tensor, size: Size) -> Tensor:
        """The group of each token, [H, W], by one of the orders."""
        groups = torch.empty_like(self.group_of_rank)
        groups[order] = self.group_of_rank
        return groups.view(size)


@dataclass(frozen=True)
class SignificanceBlock:
    """What one hybrid block measured.

    Attributes:
        stage: Number of the stage, from 1 on.
        block: Number of the block in its stage, from 1 on.
        stride: Pixels of a token's side.
        significance: Attention that each token received, at both scales, [H, W].
        groups: What the next block makes of it; None at the end of a stage, or where it goes by something else.
    """

    stage: int
    block: int
    stride: int
    significance: Tensor
    groups: TokenGroups | None


@torch.no_grad()
def trace_significance(model: SgFormer, image: Tensor) -> list[SignificanceBlock]:
    """Runs an image through a model and tells what every hybrid block measured and the next one made of it.

    Args:
        model: The model, or the body of a detector or segmenter; its mode is left as it is.
        image: Normalized image [1, channels, S, T].
    """
    records: list[list[dict[str, Any]]] = [[{} for _ in stage.blocks] for stage in model.stages]
    hooks: list[Any] = []
    for stage, record in zip(model.stages, records, strict=True):
        for block, of_block in zip(stage.blocks, record, strict=True):
            if isinstance(block.attn, HybridAttention):
                hooks.append(block.attn.register_forward_hook(_measures(of_block)))
            elif type(block.attn) is SelfGuidedAttention:  # ablations of it group tokens otherwise
                hooks.append(block.attn.register_forward_pre_hook(_regroups(of_block)))
    with watched(model, hooks):
        for _ in model.forward_stages(image):
            pass
    traced = []
    for index, (stage, record) in enumerate(zip(model.stages, records, strict=True)):
        for place, of_block in enumerate(record):
            if "significance" in of_block:
                following = record[place + 1 : place + 2]
                used = following[0].get("used") if following else None
                groups = None if used is None else token_groups(stage.blocks[place + 1].attn, used, place + 2)
                map_ = of_block["significance"][0].cpu()
                traced.append(SignificanceBlock(index + 1, place + 1, 4 * 2**index, map_, groups))
    return traced


def token_groups(attention: SelfGuidedAttention, significance: Tensor, block: int = 2) -> TokenGroups:
    """The groups that a self-guided attention cuts tokens into, as `SelfGuidedAttention.merge_tokens` does.

    Args:
        attention: The attention.
        significance: The map that it is given, [1, H, W].
        block: Number of its block, from 1 on.
    """
    total = significance.numel()
    group_of_rank = torch.empty(total, dtype=torch.long)
    kind_of_group: list[int] = []
    start = quarters = 0
    for number, kind in enumerate(attention.kinds):
        quarters += kind.quarters
        end = total * quarters // 4
        group_of_rank[start:end] = len(kind_of_group) + torch.arange(end - start) // kind.group
        # Of no tokens at all there is still one group, of zeros.
        kind_of_group += [number] * max(1, -(-(end - start) // kind.group))
        start = end
    orders = (rank(significance)[0].cpu() for rank in (rank_by_row, rank_by_column))
    return TokenGroups(block, attention.kinds, kind_of_group, group_of_rank, *orders)


def _measures(record: dict[str, Any]) -> Any:
    def measured(module: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:  # noqa: ARG001
        record["significance"] = output[1]

    return measured


def _regroups(record: dict[str, Any]) -> Any:
    def used(module: Any, inputs: tuple[Tensor, Tensor]) -> None:  # noqa: ARG001
        record["used"] = inputs[1]

    return used

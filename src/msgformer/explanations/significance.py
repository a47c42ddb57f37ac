"""Trace the significance maps and token groups of an SG-Former."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from msgformer.explanations.hooks import evaluation_mode
from msgformer.model_parts import MergeKind
from msgformer.models.guided_attention import HybridAttention, SelfGuidedAttention
from msgformer.models.reallocation import rank_by_column, rank_by_row
from msgformer.models.sg_former import SgFormer
from msgformer.models.window import Size


@dataclass(frozen=True)
class TokenGroups:
    """Groups in which a self-guided block merges the n tokens of a map.

    Attributes:
        block: Number of the block in its stage, counted from 1.
        kinds: Kinds of groups, from the least to the most significant tokens.
        kind_of_group: Index of the kind of each group.
        group_of_rank: Group of each token, in order of significance [n].
        by_row: Raster indices of the tokens in order of significance [n]; ties are in row-major order, as for half of
            the heads.
        by_column: The same with ties in column-major order, as for the other half of the heads [n].
    """

    block: int
    kinds: tuple[MergeKind, ...]
    kind_of_group: list[int]
    group_of_rank: Tensor
    by_row: Tensor
    by_column: Tensor

    def map(self, order: Tensor, size: Size) -> Tensor:
        """Return the group of each token [H, W].

        Args:
            order: ``by_row`` or ``by_column`` [n].
            size: Height H and width W of the map.
        """
        groups = torch.empty_like(self.group_of_rank)
        groups[order] = self.group_of_rank
        return groups.view(size)


@dataclass(frozen=True)
class SignificanceBlock:
    """Traced values of one hybrid block.

    Attributes:
        stage: Number of the stage, counted from 1.
        block: Number of the block in its stage, counted from 1.
        stride: Side of a token in pixels.
        significance: Attention that each token received, at both scales [H, W].
        groups: Token groups of the next block; None at the end of a stage, or if the next block does not use the map.
    """

    stage: int
    block: int
    stride: int
    significance: Tensor
    groups: TokenGroups | None


@torch.no_grad()
def trace_significance(model: SgFormer, image: Tensor) -> list[SignificanceBlock]:
    """Run a model on an image, and trace the significance map of each hybrid block and the groups of the next block.

    Args:
        model: The model, or the backbone of a detector or segmenter; its mode is restored.
        image: Normalized image [1, C, H, W].
    """
    records: list[list[dict[str, Any]]] = [[{} for _ in stage.blocks] for stage in model.stages]
    hooks: list[Any] = []
    for stage, record in zip(model.stages, records, strict=True):
        for block, block_record in zip(stage.blocks, record, strict=True):
            if isinstance(block.attn, HybridAttention):
                hooks.append(block.attn.register_forward_hook(_record_output(block_record)))
            elif type(block.attn) is SelfGuidedAttention:  # its subclasses, for ablations, group tokens differently
                hooks.append(block.attn.register_forward_pre_hook(_record_input(block_record)))
    with evaluation_mode(model, hooks):
        for _ in model.forward_stages(image):
            pass
    traced = []
    for index, (stage, record) in enumerate(zip(model.stages, records, strict=True)):
        for number, block_record in enumerate(record, 1):
            if "significance" in block_record:
                following = record[number : number + 1]
                used = following[0].get("used") if following else None
                groups = None if used is None else token_groups(stage.blocks[number].attn, used, number + 1)
                map_ = block_record["significance"][0].cpu()
                traced.append(SignificanceBlock(index + 1, number, 4 * 2**index, map_, groups))
    return traced


def token_groups(attention: SelfGuidedAttention, significance: Tensor, block: int = 2) -> TokenGroups:
    """Return the groups in which a self-guided attention merges tokens, as in `SelfGuidedAttention.merge_tokens`.

    Args:
        attention: The attention.
        significance: Its significance map [1, H, W].
        block: Number of its block, counted from 1.
    """
    total = significance.numel()
    group_of_rank = torch.empty(total, dtype=torch.long)
    kind_of_group: list[int] = []
    start = quarters = 0
    for number, kind in enumerate(attention.kinds):
        quarters += kind.quarters
        end = total * quarters // 4
        group_of_rank[start:end] = len(kind_of_group) + torch.arange(end - start) // kind.group
        # A kind without tokens still has one group, of zeros.
        kind_of_group += [number] * max(1, -(-(end - start) // kind.group))
        start = end
    orders = (rank(significance)[0].cpu() for rank in (rank_by_row, rank_by_column))
    return TokenGroups(block, attention.kinds, kind_of_group, group_of_rank, *orders)


def _record_output(record: dict[str, Any]) -> Any:
    def hook(module: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:  # noqa: ARG001
        record["significance"] = output[1]

    return hook


def _record_input(record: dict[str, Any]) -> Any:
    def hook(module: Any, inputs: tuple[Tensor, Tensor]) -> None:  # noqa: ARG001
        record["used"] = inputs[1]

    return hook

"""Segmenters in a form of which one graph serves images of all sizes; the answers are the model's own.

Where the live model asks torch for something that depends on a size (what adaptive pooling averages, how a map lies in
memory, where to crop), a graph would be captured for the sizes at hand. Here all of it is computed from the sizes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.heads.backbone import STRIDES, DenseBackbone
from msgformer.heads.segmentation.segmenter import Segmenter
from msgformer.heads.segmentation.upernet import resize
from msgformer.models.backbone import Backbone


class GraphBackbone(nn.Module):
    """`DenseBackbone`, whose maps lie in memory in one way at every size.

    Args:
        slow: The backbone.
    """

    def __init__(self, slow: DenseBackbone) -> None:
        super().__init__()
        self.body, self.norms = slow.body, slow.norms
        self.channels_last = slow.channels_last

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images [B, 3, H, W] to four maps [B, C, H / stride, W / stride]."""
        maps = zip(self.norms, self._maps(images), strict=True)
        return [norm(x).clone(memory_format=torch.contiguous_format) for norm, x in maps]

    def _maps(self, images: Tensor) -> list[Tensor]:
        model: Any = getattr(self.body, "model", None)
        if isinstance(model, Backbone):  # of all that the stages give, the patches alone
            return [outputs[0].permute(0, 3, 1, 2) for outputs in model.forward_stages(images)]
        maps = self.body(images)
        return [x.permute(0, 3, 1, 2) for x in maps] if self.channels_last else maps


class GraphSegmenter(nn.Module):
    """`Segmenter` without its training, for images of any size.

    Args:
        slow: The segmenter; its parts are used, and changed.
    """

    def __init__(self, slow: Segmenter) -> None:
        super().__init__()
        self.backbone = GraphBackbone(slow.backbone)
        self.decode_head = slow.decode_head
        _replace_pools(self.decode_head)

    def forward(self, images: Tensor) -> Tensor:
        """Normalized images [B, 3, H, W] to logits [B, classes, H, W]."""
        height, width = images.shape[-2:]
        padded = pad_to_strides(images)
        logits = resize(self.decode_head(self.backbone(padded)), padded.shape[-2:])
        rows, cols = (torch.arange(side, device=images.device) for side in (height, width))
        return logits.index_select(2, rows).index_select(3, cols)


class AveragePool(nn.Module):
    """Adaptive average pooling as two products with matrices that are computed from the size.

    Args:
        scale: Rows and columns that go out.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, scale, scale]."""
        if self.scale == 1:
            return x.mean((2, 3), keepdim=True)
        rows, cols = (pooling_matrix(side, self.scale, x) for side in x.shape[-2:])
        return rows @ x @ cols.T


def pooling_matrix(side: int, scale: int, like: Tensor) -> Tensor:
    """The matrix [scale, side] that averages ``side`` places to ``scale``, as adaptive average pooling does.

    Place i of those that go out is the mean of the places from floor(i * side / scale) to the one before
    ceil((i + 1) * side / scale).
    """
    out = torch.arange(scale, device=like.device).unsqueeze(1)
    place = torch.arange(side, device=like.device)
    first, end = out * side // scale, ((out + 1) * side + scale - 1) // scale
    inside = ((place >= first) & (place < end)).to(like.dtype)
    return inside / (end - first)


def pad_to_strides(images: Tensor) -> Tensor:
    """Images [B, 3, H, W] with zeros at the bottom and the right up to whole steps of the coarsest map.

    Sides are computed as multiples of the stride, because torch can't reason about remainders. ``1 + ...`` shows torch
    that a side is at least one stride; a graph would be specialized if it could be 0.
    """
    coarsest = STRIDES[-1]
    height, width = ((1 + (side - 1) // coarsest) * coarsest - side for side in images.shape[-2:])
    return F.pad(images, (0, width, 0, height))


def _replace_pools(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.AdaptiveAvgPool2d):
            setattr(module, name, AveragePool(child.output_size))  # type: ignore[arg-type]
        _replace_pools(child)

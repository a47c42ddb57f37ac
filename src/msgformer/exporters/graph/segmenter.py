"""Segmenters that can be captured as one graph for images of all sizes; the results are those of the original model.

Some operations of the original model (adaptive pooling, memory layouts, crops) would specialize the graph for the sizes
of the example input. Here they are computed from symbolic sizes.
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
    """`DenseBackbone` whose feature maps have the same memory format at every size.

    Args:
        original: The original backbone.
    """

    def __init__(self, original: DenseBackbone) -> None:
        super().__init__()
        self.body, self.norms = original.body, original.norms
        self.channels_last = original.channels_last

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute four feature maps [B, C, H / stride, W / stride] of images [B, 3, H, W]."""
        maps = zip(self.norms, self._maps(images), strict=True)
        return [norm(x).clone(memory_format=torch.contiguous_format) for norm, x in maps]

    def _maps(self, images: Tensor) -> list[Tensor]:
        model: Any = getattr(self.body, "model", None)
        if isinstance(model, Backbone):  # use only the patch tokens of each stage
            return [outputs[0].permute(0, 3, 1, 2) for outputs in model.forward_stages(images)]
        maps = self.body(images)
        return [x.permute(0, 3, 1, 2) for x in maps] if self.channels_last else maps


class GraphSegmenter(nn.Module):
    """`Segmenter` for inference, for images of any size.

    Args:
        original: The original segmenter; its modules are reused and modified.
    """

    def __init__(self, original: Segmenter) -> None:
        super().__init__()
        self.backbone = GraphBackbone(original.backbone)
        self.decode_head = original.decode_head
        _replace_pools(self.decode_head)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits [B, classes, H, W] of normalized images [B, 3, H, W]."""
        height, width = images.shape[-2:]
        padded = pad_to_strides(images)
        logits = resize(self.decode_head(self.backbone(padded)), padded.shape[-2:])
        rows, cols = (torch.arange(side, device=images.device) for side in (height, width))
        return logits.index_select(2, rows).index_select(3, cols)


class AveragePool(nn.Module):
    """Adaptive average pooling as two matrix products, with matrices computed from the input size.

    Args:
        scale: Number of output rows and columns.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Pool a map [B, C, H, W] to [B, C, scale, scale]."""
        if self.scale == 1:
            return x.mean((2, 3), keepdim=True)
        rows, cols = (pooling_matrix(side, self.scale, x) for side in x.shape[-2:])
        return rows @ x @ cols.T


def pooling_matrix(side: int, scale: int, like: Tensor) -> Tensor:
    """Return the matrix of one-dimensional adaptive average pooling.

    Output i is the mean of the inputs from floor(i * side / scale) up to, but not including,
    ceil((i + 1) * side / scale).

    Args:
        side: Number of inputs.
        scale: Number of outputs.
        like: Tensor of any shape, whose device and dtype the matrix gets.

    Returns:
        Matrix [scale, side].
    """
    out = torch.arange(scale, device=like.device).unsqueeze(1)
    position = torch.arange(side, device=like.device)
    first, end = out * side // scale, ((out + 1) * side + scale - 1) // scale
    inside = ((position >= first) & (position < end)).to(like.dtype)
    return inside / (end - first)


def pad_to_strides(images: Tensor) -> Tensor:
    """Pad images [B, 3, H, W] with zeros at the bottom and the right to multiples of the coarsest stride.

    Sides are computed as multiples of the stride, because torch can't reason about remainders. ``1 + ...`` shows torch
    that a side is at least one stride; otherwise it would specialize the graph.
    """
    coarsest = STRIDES[-1]
    height, width = ((1 + (side - 1) // coarsest) * coarsest - side for side in images.shape[-2:])
    return F.pad(images, (0, width, 0, height))


def _replace_pools(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.AdaptiveAvgPool2d):
            setattr(module, name, AveragePool(child.output_size))  # type: ignore[arg-type]
        _replace_pools(child)

"""Suppression of doubles as one operator whose outcome has a size known beforehand.

torch's own operator gives as many numbers as boxes are left, of which no graph of fixed sizes can be made; this one
says of each box whether it is left. ONNX has an operator for it, which `onnx_ops` translates it to.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import nms


@torch.library.custom_op("msgformer::suppress", mutates_args=())
def fixed_size_nms(boxes: Tensor, scores: Tensor, max_boxes: int, overlap: float, threshold: float) -> Tensor:
    """Which boxes are left when of those that overlap only the best one stays.

    Args:
        boxes: ``x1 y1 x2 y2`` of G groups, [G, N, 4]; groups don't touch each other.
        scores: Of each box for each class, [G, C, N]; neither do classes.
        max_boxes: Maximum number of boxes per group and class; the best are selected.
        overlap: IoU above which the weaker of two boxes goes.
        threshold: Boxes go, too, whose score isn't above this.

    Returns:
        Whether a box is left, bool, [G, C, N].
    """
    left = torch.zeros_like(scores, dtype=torch.bool)
    for group, classes, marks in zip(boxes, scores, left, strict=True):
        for values, marked in zip(classes, marks, strict=True):
            place = (values > threshold).nonzero()[:, 0]
            best = nms(group[place], values[place], overlap)[:max_boxes]
            marked[place[best]] = True
    return left


@fixed_size_nms.register_fake
def _(boxes: Tensor, scores: Tensor, *limits: float) -> Tensor:
    del boxes, limits
    return torch.empty_like(scores, dtype=torch.bool)

"""Fixed-size non-maximum suppression (NMS) as one operator, for graphs with fixed sizes.

torchvision's operator returns the indices of the remaining boxes, whose number depends on the data. This operator
returns a mask over all boxes instead. `onnx_ops` translates it to the operator of ONNX. It is registered under the name
``msgformer::suppress``, which exported programs refer to.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import nms


@torch.library.custom_op("msgformer::suppress", mutates_args=())
def fixed_size_nms(boxes: Tensor, scores: Tensor, max_boxes: int, overlap: float, threshold: float) -> Tensor:
    """Mark the boxes that remain after non-maximum suppression within each group and class.

    Args:
        boxes: Boxes ``x1 y1 x2 y2`` of G groups, [G, N, 4].
        scores: Score of each box for each class, [G, C, N].
        max_boxes: Maximum number of boxes per group and class; the best are selected.
        overlap: IoU above which the box with the lower score is removed.
        threshold: Boxes with a score up to this are removed.

    Returns:
        Whether each box remains, bool [G, C, N].
    """
    remain = torch.zeros_like(scores, dtype=torch.bool)
    for group, group_scores, group_remain in zip(boxes, scores, remain, strict=True):
        for class_scores, class_remain in zip(group_scores, group_remain, strict=True):
            candidates = (class_scores > threshold).nonzero()[:, 0]
            best = nms(group[candidates], class_scores[candidates], overlap)[:max_boxes]
            class_remain[candidates[best]] = True
    return remain


@fixed_size_nms.register_fake
def _(boxes: Tensor, scores: Tensor, *limits: float) -> Tensor:
    del boxes, limits
    return torch.empty_like(scores, dtype=torch.bool)

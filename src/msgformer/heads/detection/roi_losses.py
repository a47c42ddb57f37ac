"""Losses and targets of box and mask heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss, roi_align

from msgformer.heads.detection.box_coder import BoxCoder


def select_class(values: Tensor, labels: Tensor) -> Tensor:
    """Select the four offsets or coordinates of each region's own class.

    Args:
        values: Offsets or boxes per class, [N, K * 4].
        labels: Class of each region, [N].

    Returns:
        Offsets or boxes [N, 4].
    """
    per_class = values.unflatten(1, (-1, 4))
    return per_class[torch.arange(len(labels), device=labels.device), labels]


def giou_loss(deltas: Tensor, rois: Tensor, truth: Tensor, coder: BoxCoder) -> Tensor:
    """Compute ten times the sum of ``1 - GIoU`` between decoded, unclipped boxes and ground truth.

    Args:
        deltas: Predicted offsets of the ground-truth class, [P, 4].
        rois: Reference boxes, [P, 4].
        truth: Ground-truth boxes, [P, 4].
        coder: Box coder of the stage.

    Returns:
        The loss [].
    """
    return 10 * generalized_box_iou_loss(coder.decode_single(deltas, rois), truth, reduction="sum")


def l1_loss(deltas: Tensor, rois: Tensor, truth: Tensor, coder: BoxCoder) -> Tensor:
    """Compute the sum of absolute differences between predicted and true offsets.

    Args:
        deltas: Predicted offsets of the ground-truth class, [P, 4].
        rois: Reference boxes, [P, 4].
        truth: Ground-truth boxes, [P, 4].
        coder: Box coder of the stage.

    Returns:
        The loss [].
    """
    return F.l1_loss(deltas.to(rois.dtype), coder.encode_single(truth, rois), reduction="sum")


BOX_LOSSES = {"giou": giou_loss, "l1": l1_loss}
"""Box losses by name; each is divided by the number of all sampled regions."""


def mask_targets(masks: Tensor, matched: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Crop and resize the ground-truth masks of one image to boxes.

    Args:
        masks: Masks of all ground truths, [G, H, W], padded like the image.
        matched: Index of the ground truth of each box, [P].
        boxes: Boxes [P, 4].
        size: Side S of the targets.

    Returns:
        Targets [P, S, S], 0 or 1, in the type of the boxes.
    """
    rois = torch.cat([matched[:, None].to(boxes.dtype), boxes], dim=1)
    cropped = roi_align(masks[:, None].to(boxes.dtype), rois, size, sampling_ratio=0, aligned=True)
    return (cropped[:, 0] >= 0.5).to(boxes.dtype)


def mask_loss(logits: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
    """Compute the mean binary cross entropy of the ground-truth class's mask; without positives, a differentiable zero.

    Args:
        logits: Mask logits [P, K, S, S].
        targets: Targets [P, S, S].
        labels: Class of each region, [P].

    Returns:
        The loss [].
    """
    if not len(labels):
        return logits.sum() * 0
    own = logits[torch.arange(len(labels), device=labels.device), labels]
    return F.binary_cross_entropy_with_logits(own, targets)

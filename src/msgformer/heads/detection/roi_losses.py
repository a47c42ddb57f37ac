"""What box and mask heads are trained to: classes, boxes, masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss, roi_align

from msgformer.heads.detection.box_coder import BoxCoder


def select_class(values: Tensor, labels: Tensor) -> Tensor:
    """The four offsets or coordinates of each region's own class: [N, K * 4] and [N] to [N, 4]."""
    per_class = values.unflatten(1, (-1, 4))
    return per_class[torch.arange(len(labels), device=labels.device), labels]


def giou_loss(deltas: Tensor, rois: Tensor, truth: Tensor, coder: BoxCoder) -> Tensor:
    """Sum of ``1 - GIoU`` between decoded, unclipped boxes and ground truth, times ten.

    Args:
        deltas: predicted offsets of the ground-truth class, [P, 4].
        rois: boxes started from, [P, 4].
        truth: boxes aimed at, [P, 4].
        coder: of the stage.
    """
    return 10 * generalized_box_iou_loss(coder.decode_single(deltas, rois), truth, reduction="sum")


def l1_loss(deltas: Tensor, rois: Tensor, truth: Tensor, coder: BoxCoder) -> Tensor:
    """Sum of absolute differences between predicted and true offsets; arguments as :func:`giou_loss`."""
    return F.l1_loss(deltas.to(rois.dtype), coder.encode_single(truth, rois), reduction="sum")


BOX_LOSSES = {"giou": giou_loss, "l1": l1_loss}
"""Losses on boxes by name; each is divided by the number of all sampled regions."""


def mask_targets(masks: Tensor, matched: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Ground-truth masks of one image as seen through boxes.

    Args:
        masks: of all ground truths, [G, H, W], of the image padded as it was for the backbone.
        matched: which of them belongs to each box, [P].
        boxes: [P, 4].
        size: side of the targets.

    Returns:
        [P, size, size], 0 or 1, in the boxes' type.
    """
    rois = torch.cat([matched[:, None].to(boxes.dtype), boxes], dim=1)
    seen = roi_align(masks[:, None].to(boxes.dtype), rois, size, sampling_ratio=0, aligned=True)
    return (seen[:, 0] >= 0.5).to(boxes.dtype)


def mask_loss(logits: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross entropy of the ground-truth class's mask; zero, with a gradient, without positives.

    Args:
        logits: [P, K, S, S].
        targets: [P, S, S].
        labels: classes, [P].
    """
    if not len(labels):
        return logits.sum() * 0
    own = logits[torch.arange(len(labels), device=labels.device), labels]
    return F.binary_cross_entropy_with_logits(own, targets)

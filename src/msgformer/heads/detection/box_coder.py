"""Boxes as offsets from reference boxes, the form in which heads predict them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder as TorchvisionBoxCoder

MAX_LOG_RATIO = math.log(1000 / 16)
"""Largest change of width or height in one step, as a logarithm; it bounds both growth and shrinkage."""


class BoxCoder(TorchvisionBoxCoder):
    """Offsets of centre (in reference sides) and size (logarithmic), divided by standard deviations.

    torchvision's coder bounds growth only, and casts the boxes to the deltas' type, which half precision can't
    afford; this one bounds shrinkage as well and computes in the boxes' type.

    Args:
        stds: standard deviations of (dx, dy, dw, dh) that the predictions are scaled by.
    """

    def __init__(self, stds: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)) -> None:
        super().__init__(weights=tuple(1 / std for std in stds), bbox_xform_clip=MAX_LOG_RATIO)
        self.stds = stds

    def encode_single(self, reference_boxes: Tensor, proposals: Tensor) -> Tensor:
        """Offsets that turn proposals into boxes.

        Args:
            reference_boxes: the boxes aimed at, [N, 4].
            proposals: the boxes started from, [N, 4].

        Returns:
            Offsets, [N, 4].
        """
        (target_centre, target_size), (centre, size) = _centre_size(reference_boxes), _centre_size(proposals)
        offsets = torch.cat([(target_centre - centre) / size, torch.log(target_size / size)], dim=-1)
        return offsets / offsets.new_tensor(self.stds)

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Boxes that offsets lead to.

        Args:
            rel_codes: offsets, [N, 4] or, for several classes, [N, K * 4].
            boxes: the boxes started from, [N, 4].

        Returns:
            Boxes ``x1 y1 x2 y2``, not clipped, in the shape of ``rel_codes``.
        """
        offsets = rel_codes.unflatten(1, (-1, 4)).to(boxes.dtype)  # [N, K, 4]
        offsets = offsets * offsets.new_tensor(self.stds)
        centre, size = _centre_size(boxes[:, None])
        centre = centre + size * offsets[..., :2]
        half = size * offsets[..., 2:].clamp(-self.bbox_xform_clip, self.bbox_xform_clip).exp() * 0.5
        return torch.cat([centre - half, centre + half], dim=-1).reshape(rel_codes.shape)


def _centre_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centres and sizes of boxes [..., 4], each [..., 2]."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) * 0.5, high - low

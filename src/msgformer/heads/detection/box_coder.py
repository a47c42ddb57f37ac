"""Box coder: boxes as offsets from reference boxes, the form in which heads predict them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder as TorchvisionBoxCoder

MAX_LOG_RATIO = math.log(1000 / 16)
"""Logarithm of the largest change of width or height in one step; it bounds both growth and shrinkage."""


class BoxCoder(TorchvisionBoxCoder):
    """Offsets of center (relative to the reference side) and size (logarithmic), divided by standard deviations.

    torchvision's coder bounds growth only, and casts the boxes to the type of the deltas, which is too coarse in half
    precision. This one also bounds shrinkage, and computes in the type of the boxes. The base class is
    private, but torchvision's region proposal network needs its methods.

    Args:
        stds: Standard deviations of (dx, dy, dw, dh) by which the predictions are scaled.
    """

    def __init__(self, stds: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)) -> None:
        super().__init__(weights=tuple(1 / std for std in stds), bbox_xform_clip=MAX_LOG_RATIO)
        self.stds = stds

    def encode_single(self, reference_boxes: Tensor, proposals: Tensor) -> Tensor:
        """Compute the offsets from proposals to boxes.

        Args:
            reference_boxes: Target boxes, [N, 4].
            proposals: Reference boxes, [N, 4].

        Returns:
            Offsets [N, 4].
        """
        (target_center, target_size), (center, size) = _center_size(reference_boxes), _center_size(proposals)
        offsets = torch.cat([(target_center - center) / size, torch.log(target_size / size)], dim=-1)
        return offsets / offsets.new_tensor(self.stds)

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Apply offsets to boxes.

        Args:
            rel_codes: Offsets [N, 4] or, for K classes, [N, K * 4].
            boxes: Reference boxes, [N, 4].

        Returns:
            Boxes ``x1 y1 x2 y2``, not clipped, in the shape of ``rel_codes``.
        """
        offsets = rel_codes.unflatten(1, (-1, 4)).to(boxes.dtype)  # [N, K, 4]
        offsets = offsets * offsets.new_tensor(self.stds)
        center, size = _center_size(boxes[:, None])
        center = center + size * offsets[..., :2]
        half = size * offsets[..., 2:].clamp(-self.bbox_xform_clip, self.bbox_xform_clip).exp() * 0.5
        return torch.cat([center - half, center + half], dim=-1).reshape(rel_codes.shape)


def _center_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return centers and sizes, [..., 2] each, of boxes [..., 4]."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) * 0.5, high - low

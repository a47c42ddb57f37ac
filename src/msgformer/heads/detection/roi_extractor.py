"""RoI extractor: region features from the level of the pyramid that fits the region's size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

FINEST_SCALE = 56
"""Side in pixels up to which a region belongs to the finest level; each doubling is one level coarser."""


def boxes_to_rois(boxes: Sequence[Tensor]) -> Tensor:
    """Join the boxes of several images, [N, 4] each, with their image index in front: [sum N, 5]."""
    indices = [torch.full_like(box[:, :1], index) for index, box in enumerate(boxes)]
    return torch.cat([torch.cat([index, box], dim=1) for index, box in zip(indices, boxes, strict=True)])


class RoIExtractor(nn.Module):
    """Aligned RoIAlign (Mask R-CNN, section 3), each region from one level (FPN, equation 1).

    torchvision's ``MultiScaleRoIAlign`` is not aligned (half a pixel off) and derives strides from image sizes.

    Args:
        output_size: Side of the region features.
        strides: Strides of the pyramid's levels.
    """

    def __init__(self, output_size: int, strides: Sequence[int] = (4, 8, 16, 32)) -> None:
        super().__init__()
        self.output_size = output_size
        self.strides = tuple(strides)

    def levels(self, rois: Tensor) -> Tensor:
        """Return the level of each region, [N], for regions [N, 5]."""
        sides = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt()
        levels = torch.log2(sides / FINEST_SCALE + 1e-6).floor()
        return levels.clamp(0, len(self.strides) - 1).long()

    def forward(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Extract region features.

        Args:
            features: Maps of the pyramid, [B, C, H, W], from the finest; maps beyond `strides` are not used.
            rois: Image index and box in pixels of the image, [N, 5].

        Returns:
            Region features [N, C, output_size, output_size].
        """
        levels = self.levels(rois)
        # Half precision is too coarse for box coordinates, so half-precision maps are sampled in float32.
        precise = torch.promote_types(features[0].dtype, rois.dtype)
        regions = rois.new_zeros(len(rois), features[0].shape[1], *[self.output_size] * 2, dtype=precise)
        for level, (feature, stride) in enumerate(zip(features, self.strides, strict=False)):
            index = (levels == level).nonzero()[:, 0]
            aligned = roi_align(
                feature.to(precise),
                rois[index].to(precise),
                self.output_size,
                spatial_scale=1 / stride,
                sampling_ratio=0,
                aligned=True,
            )
            regions = regions.index_copy(0, index, aligned.to(precise))
        return regions.to(features[0].dtype)

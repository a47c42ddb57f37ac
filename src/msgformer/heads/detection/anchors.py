"""Anchors: the reference boxes of a region proposal network or a one-stage head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator as TorchvisionAnchorGenerator
from torchvision.models.detection.image_list import ImageList


class AnchorGenerator(TorchvisionAnchorGenerator):
    """Anchors of side ``scale * stride``, in torchvision's order (row, column, scale and ratio).

    torchvision's own generator rounds anchors to whole pixels, derives strides from the image size (wrong for a level
    whose side was rounded up) and uses the data type of the maps (in bfloat16, centers beyond 256 pixels are off by a
    pixel and more). Here strides are given, nothing is rounded, and anchors are float32.

    Args:
        scales: Sides of the square anchor, in strides.
        ratios: Ratios of height to width.
        strides: Pixels between adjacent anchors, one number per level.
    """

    def __init__(
        self,
        scales: Sequence[float] = (8,),
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        strides: Sequence[int] = (4, 8, 16, 32, 64),
    ) -> None:
        sizes = tuple(tuple(scale * stride for scale in scales) for stride in strides)
        super().__init__(sizes, (tuple(ratios),) * len(sizes))
        self.strides = tuple(strides)

    def generate_anchors(
        self,
        scales: Sequence[float],
        aspect_ratios: Sequence[float],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Compute the anchors around the origin, without rounding.

        Args:
            scales: Sides of the square anchor, in pixels.
            aspect_ratios: Ratios of height to width.
            dtype: Type of the anchors.
            device: Device of the anchors.

        Returns:
            Boxes ``x1 y1 x2 y2``, [len(aspect_ratios) * len(scales), 4].
        """
        sides = torch.as_tensor(scales, dtype=dtype, device=device)
        stretch = torch.as_tensor(aspect_ratios, dtype=dtype, device=device).sqrt()
        widths = (sides * (1 / stretch)[:, None]).flatten()
        heights = (sides * stretch[:, None]).flatten()
        return torch.stack([-widths, -heights, widths, heights], dim=1) * 0.5

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Compute the anchors of all levels, per image of a batch.

        Args:
            image_list: The batch; only its length is used.
            feature_maps: One map per level, [B, C, H, W].

        Returns:
            The same float32 boxes per image, [sum of H * W * anchors per position, 4].
        """
        self.set_cell_anchors(torch.float32, feature_maps[0].device)
        sizes = [list(feature.shape[-2:]) for feature in feature_maps]
        levels = self.grid_anchors(sizes, [[stride, stride] for stride in self.strides])
        return [torch.cat(levels)] * len(image_list.image_sizes)

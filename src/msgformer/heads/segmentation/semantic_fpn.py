"""Semantic FPN: a light segmentation head on a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from msgformer.heads.layers import ConvModule
from msgformer.heads.segmentation.upernet import PixelClassifier, resize


class SemanticFPNHead(PixelClassifier):
    """Upsamples every level of the pyramid in steps of 2 to stride 4 and sums them (Panoptic FPN, figure 3).

    Args:
        in_channels: Channels of the maps of stride 4, 8, 16, 32.
        num_classes: Number of classes.
        channels: Channels of the head; the pyramid has twice as many.
    """

    def __init__(self, in_channels: Sequence[int], num_classes: int, channels: int = 128) -> None:
        super().__init__(channels, num_classes)
        self.fpn = FeaturePyramidNetwork(list(in_channels), 2 * channels)
        self.scale_heads = nn.ModuleList(
            self._scale_head(level, 2 * channels, channels) for level in range(len(in_channels))
        )

    @staticmethod
    def _scale_head(level: int, in_channels: int, channels: int) -> nn.Sequential:
        """Create the convolutions of a level, each followed by upsampling by 2 except at the finest level."""
        layers: list[nn.Module] = []
        for step in range(max(level, 1)):
            layers.append(ConvModule(channels if step else in_channels, channels))
            if level:
                layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
        return nn.Sequential(*layers)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Compute logits [B, num_classes, H / 4, W / 4] of maps [B, C, H / stride, W / stride]."""
        levels = self.fpn({str(level): x for level, x in enumerate(maps)}).values()
        scaled = [head(x) for head, x in zip(self.scale_heads, levels, strict=True)]
        return self.classify(torch.stack([resize(x, scaled[0].shape[-2:]) for x in scaled]).sum(dim=0))

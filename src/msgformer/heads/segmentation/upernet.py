"""UPerNet and its auxiliary head; parameters have MMSegmentation's names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.heads.layers import ConvModule


class PixelClassifier(nn.Module):
    """Base of segmentation heads: dropout of whole channels, then logits per position.

    Args:
        channels: Channels of the features.
        num_classes: Number of classes.
        dropout: Dropout rate.
    """

    def __init__(self, channels: int, num_classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        nn.init.normal_(self.conv_seg.weight, std=0.01)
        nn.init.zeros_(self.conv_seg.get_parameter("bias"))

    def classify(self, features: Tensor) -> Tensor:
        """Compute logits [B, num_classes, H, W] of features [B, channels, H, W]."""
        return self.conv_seg(self.dropout(features))


class UPerHead(PixelClassifier):
    """Pyramid pooling on the last map, a feature pyramid over all maps, and their fusion (UPerNet, section 3.1).

    Args:
        in_channels: Channels of the maps of stride 4, 8, 16, 32.
        num_classes: Number of classes.
        channels: Channels of the head.
        pool_scales: Sides of the grids to which the last map is pooled.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        channels: int = 512,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
    ) -> None:
        super().__init__(channels, num_classes)
        *finer, last = in_channels
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(scale), ConvModule(last, channels, 1)) for scale in pool_scales
        )
        self.bottleneck = ConvModule(last + len(pool_scales) * channels, channels)
        self.lateral_convs = nn.ModuleList(ConvModule(width, channels, 1) for width in finer)
        self.fpn_convs = nn.ModuleList(ConvModule(channels, channels) for _ in finer)
        self.fpn_bottleneck = ConvModule(len(in_channels) * channels, channels)

    def pool(self, x: Tensor) -> Tensor:
        """Fuse the last map [B, C, H, W] with its pooled versions to [B, channels, H, W]."""
        pooled = [resize(module(x), x.shape[-2:]) for module in self.psp_modules]
        return self.bottleneck(torch.cat([x, *pooled], dim=1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Compute logits [B, num_classes, H / 4, W / 4] of maps [B, C, H / stride, W / stride]."""
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, maps[:-1], strict=True)]
        laterals.append(self.pool(maps[-1]))
        for level in range(len(laterals) - 1, 0, -1):
            finer = laterals[level - 1]
            laterals[level - 1] = finer + resize(laterals[level], finer.shape[-2:])
        outputs = [conv(x) for conv, x in zip(self.fpn_convs, laterals[:-1], strict=True)] + laterals[-1:]
        outputs = [resize(x, outputs[0].shape[-2:]) for x in outputs]
        return self.classify(self.fpn_bottleneck(torch.cat(outputs, dim=1)))


class FCNHead(PixelClassifier):
    """One convolution and a classifier on the map of stride 16, for an auxiliary loss in training.

    Args:
        in_channels: Channels of the maps of stride 4, 8, 16, 32.
        num_classes: Number of classes.
        channels: Channels of the head.
    """

    def __init__(self, in_channels: Sequence[int], num_classes: int, channels: int = 256) -> None:
        super().__init__(channels, num_classes)
        self.convs = nn.Sequential(ConvModule(in_channels[2], channels))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Compute logits [B, num_classes, H / 16, W / 16] of maps [B, C, H / stride, W / stride]."""
        return self.classify(self.convs(maps[2]))


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a map bilinearly, with corners not aligned.

    Args:
        x: Map [B, C, H, W].
        size: Height H' and width W' of the result.

    Returns:
        Map [B, C, H', W'].
    """
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)

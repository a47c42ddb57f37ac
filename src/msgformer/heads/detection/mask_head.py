"""Mask head: the pixels of a region that belong to the object."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from msgformer.config.dense_training_options import DetectOptions
from msgformer.heads.layers import ConvModule, init_conv


class MaskHead(nn.Module):
    """3 x 3 convolutions, upsampling by 2, and one mask per class (Mask R-CNN, figure 4 right).

    Args:
        in_channels: Channels of the regions.
        num_classes: Number of object classes.
        num_convs: Number of 3 x 3 convolutions.
        channels: Channels of the convolutions.
    """

    def __init__(
        self, in_channels: int, num_classes: int, num_convs: int = 4, channels: int = DetectOptions.channels
    ) -> None:
        super().__init__()
        widths = [in_channels] + [channels] * num_convs
        self.convs = nn.Sequential(*[ConvModule(a, b, norm=False) for a, b in pairwise(widths)])
        self.upsample = nn.ConvTranspose2d(widths[-1], channels, 2, stride=2)
        self.conv_logits = nn.Conv2d(channels, num_classes, 1)
        init_conv(self.upsample)
        init_conv(self.conv_logits)

    def forward(self, regions: Tensor) -> Tensor:
        """Compute mask logits [N, num_classes, 2S, 2S] of regions [N, in_channels, S, S]."""
        return self.conv_logits(self.upsample(self.convs(regions)).relu())

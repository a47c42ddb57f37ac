"""Backbone and feature pyramid in one module, as torchvision's detectors expect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool

from msgformer.config.dense_training_options import DetectOptions
from msgformer.heads.backbone import DenseBackbone, create_backbone


class FeaturePyramid(nn.Module):
    """Feature pyramid over the stages of a backbone (FPN, figure 3).

    Args:
        backbone: Backbone with maps of stride 4, 8, 16 and 32.
        channels: Channels of the pyramid's maps.
        stages: Indices of the backbone's maps that are used.
        extra_levels: Module that adds coarser levels; by default one of stride 64, by subsampling.

    Attributes:
        out_channels: Same as ``channels``; torchvision's detectors read it.
    """

    def __init__(
        self,
        backbone: DenseBackbone,
        channels: int = DetectOptions.channels,
        stages: Sequence[int] = (0, 1, 2, 3),
        extra_levels: ExtraFPNBlock | None = None,
    ) -> None:
        super().__init__()
        self.body = backbone
        self.stages = tuple(stages)
        self.out_channels = channels
        for stage in set(range(len(backbone.norms))) - set(stages):
            backbone.norms[stage] = nn.Identity()  # parameters without a gradient are an error in distributed training
        widths = [backbone.channels[stage] for stage in stages]
        self.fpn = FeaturePyramidNetwork(widths, channels, extra_levels or LastLevelMaxPool())
        for block in [*self.fpn.inner_blocks, *self.fpn.layer_blocks]:
            nn.init.xavier_uniform_(block[0].weight)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compute maps [B, channels, H / stride, W / stride], named '0', '1', ..., 'pool', of images [B, 3, H, W]."""
        maps = self.body(images)
        return self.fpn({str(level): maps[stage] for level, stage in enumerate(self.stages)})


def create_pyramid(
    backbone: str | nn.Module, channels: int = DetectOptions.channels, **backbone_options: Any
) -> FeaturePyramid:
    """Create a backbone with a pyramid, for ``torchvision.models.detection.MaskRCNN(backbone=...)`` and similar models.

    Args:
        backbone: Name or module, see `create_backbone`.
        channels: Channels of the pyramid's maps.
        **backbone_options: Options of `create_backbone`.

    Returns:
        A module that returns maps of stride 4, 8, 16, 32 and 64 in a dictionary.

    Raises:
        UserError: The backbone can't be created.
    """
    return FeaturePyramid(create_backbone(backbone, **backbone_options), channels)

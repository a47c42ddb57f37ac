"""Backbone and feature pyramid in one, as torchvision's detectors take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool

from msgformer.heads.backbone import DenseBackbone, create_backbone


class FeaturePyramid(nn.Module):
    """Maps of one width on all scales (FPN, figure 3), over the stages of a backbone.

    Args:
        backbone: gives maps of stride 4, 8, 16 and 32.
        channels: of the pyramid's maps.
        stages: which of the backbone's maps are used.
        extra_levels: what makes coarser levels; by default one more, of stride 64, by subsampling.

    Attributes:
        out_channels: the same as ``channels``; torchvision's detectors ask for it.
    """

    def __init__(
        self,
        backbone: DenseBackbone,
        channels: int = 256,
        stages: Sequence[int] = (0, 1, 2, 3),
        extra_levels: ExtraFPNBlock | None = None,
    ) -> None:
        super().__init__()
        self.body = backbone
        self.stages = tuple(stages)
        self.out_channels = channels
        for stage in set(range(len(backbone.norms))) - set(stages):
            backbone.norms[stage] = nn.Identity()  # parameters without a gradient would stop distributed training
        widths = [backbone.channels[stage] for stage in stages]
        self.fpn = FeaturePyramidNetwork(widths, channels, extra_levels or LastLevelMaxPool())
        for block in [*self.fpn.inner_blocks, *self.fpn.layer_blocks]:
            nn.init.xavier_uniform_(block[0].weight)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images [B, 3, H, W] to maps [B, channels, H / stride, W / stride] by the names '0', '1', ..., 'pool'."""
        maps = self.body(images)
        return self.fpn({str(level): maps[stage] for level, stage in enumerate(self.stages)})


def create_pyramid(backbone: str | nn.Module, channels: int = 256, **backbone_options: Any) -> FeaturePyramid:
    """A backbone with a pyramid, for ``torchvision.models.detection.MaskRCNN(backbone=...)`` and its like.

    Args:
        backbone: name or module, see :func:`~msgformer.heads.backbone.create_backbone`.
        channels: of the pyramid's maps.
        **backbone_options: see :func:`~msgformer.heads.backbone.create_backbone`.

    Returns:
        A module that returns maps of stride 4, 8, 16, 32 and 64 in a dictionary.

    Raises:
        UserError: the backbone can't be made.
    """
    return FeaturePyramid(create_backbone(backbone, **backbone_options), channels)

"""torchvision's RetinaNet on any backbone, at any precision."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchvision.models.detection.retinanet import RetinaNet as TorchvisionRetinaNet
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from msgformer.config.dense_training_options import DetectOptions
from msgformer.heads.backbone import DenseBackbone
from msgformer.heads.detection.anchors import AnchorGenerator
from msgformer.heads.detection.detections import MIN_LIMIT, DetectionLimits
from msgformer.heads.detection.images import DetectionTransform
from msgformer.heads.detection.targets import check_targets
from msgformer.heads.pyramid import FeaturePyramid
from msgformer.heads.weight_decay import exempt_parameters

LEVEL_STRIDES = (8, 16, 32, 64, 128)
"""Pixels per step of each level of the pyramid."""


class Float32Head(RetinaNetHead):
    """torchvision's head with float32 outputs at any precision of the maps, because boxes are decoded from them."""

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        """Compute logits and offsets [B, anchors, K or 4] of maps [B, C, H, W]."""
        return {name: output.float() for name, output in super().forward(x).items()}


class RetinaNet(TorchvisionRetinaNet):
    """One-stage detector on levels of stride 8 to 128; class labels start at 1 outside and at 0 inside.

    Args:
        backbone: Backbone with maps of stride 4, 8, 16 and 32.
        num_classes: Number of object classes.
        transform: Preprocessing of images and postprocessing of detections.
        limits: Limits of the returned detections.
        channels: Channels of the pyramid's maps.
        anchor_size: Side of the smallest anchors in pixels; there are three sides per octave (RetinaNet, section 4).
    """

    def __init__(
        self,
        backbone: DenseBackbone,
        num_classes: int,
        transform: DetectionTransform,
        limits: DetectionLimits,
        channels: int = DetectOptions.channels,
        anchor_size: int = DetectOptions.anchor_size,
    ) -> None:
        pyramid = FeaturePyramid(backbone, channels, (1, 2, 3), LastLevelP6P7(channels, channels))
        anchors = AnchorGenerator(
            [anchor_size / LEVEL_STRIDES[0] * 2 ** (third / 3) for third in range(3)], strides=LEVEL_STRIDES
        )
        super().__init__(
            pyramid,
            num_classes,
            anchor_generator=anchors,
            head=Float32Head(channels, anchors.num_anchors_per_location()[0], num_classes),
            score_thresh=limits.score_threshold,
            nms_thresh=limits.nms_threshold,
            detections_per_img=limits.per_image,
        )
        self.transform = transform
        self.num_classes = num_classes
        self.with_masks = False
        self.nms_threshold = limits.nms_threshold

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """Compute losses in training, and detections otherwise; see `create_detector`.

        Args:
            images: Images [3, H, W] each.
            targets: Ground truth per image: ``boxes`` [G, 4] and ``labels`` [G].
        """
        if self.training:
            check_targets(images, targets, self.num_classes, self.with_masks)
            assert targets is not None
            targets = [{**target, "labels": target["labels"] - 1} for target in targets]
            return super().forward(images, targets)
        return [{**found, "labels": found["labels"] + 1} for found in super().forward(images)]

    @property
    def detections_per_img(self) -> int:
        """Maximum number of detections per image, by torchvision's name; see `raised_limit`."""
        return max(self.detections_per_image, MIN_LIMIT.get())

    @detections_per_img.setter
    def detections_per_img(self, limit: int) -> None:
        self.detections_per_image = limit

    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters that the backbone exempts from weight decay."""
        return exempt_parameters(self)

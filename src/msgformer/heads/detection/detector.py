"""Detectors by name: a backbone, a pyramid and a head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from torch import Tensor, nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from msgformer.config.dense_data_options import DetectImageOptions
from msgformer.config.dense_training_options import DetectHead, DetectOptions
from msgformer.errors import UserError
from msgformer.heads.backbone import STRIDES, DenseBackbone, create_backbone
from msgformer.heads.detection.anchors import AnchorGenerator
from msgformer.heads.detection.box_head import BoxHead
from msgformer.heads.detection.cascade import CASCADE, CascadeRoIHeads, StageSetting
from msgformer.heads.detection.detections import DetectionLimits
from msgformer.heads.detection.images import DetectionTransform
from msgformer.heads.detection.mask_head import MaskHead
from msgformer.heads.detection.retinanet import RetinaNet
from msgformer.heads.detection.rpn import RegionProposalNetwork
from msgformer.heads.detection.targets import check_targets
from msgformer.heads.pyramid import FeaturePyramid
from msgformer.heads.weight_decay import exempt_parameters
from msgformer.model_names import nearest


@dataclass(frozen=True)
class DetectorSizes:
    """Sizes of a detector and of its training samples.

    Attributes:
        channels: Channels of the pyramid and the heads' convolutions.
        fc_channels: Channels of the box heads' fully connected layers.
        anchor_size: Side of the smallest anchors in pixels; it doubles from level to level.
        train_proposals: Proposals per level before NMS, and in total after it, in training.
        test_proposals: Proposals per level before NMS, and in total after it, in evaluation.
        rois_per_image: Sampled proposals per image for the losses of each stage.
    """

    channels: int
    fc_channels: int
    anchor_size: int
    train_proposals: int
    test_proposals: int
    rois_per_image: int


@dataclass(frozen=True)
class RCNNSetting:
    """Settings that distinguish the two-stage detectors.

    Attributes:
        stages: Training settings per stage.
        with_masks: Whether there are mask heads.
        num_convs: Number of convolutions of a box head.
        num_fcs: Number of fully connected layers of a box head.
        box_loss: Name of the box loss.
    """

    stages: tuple[StageSetting, ...]
    with_masks: bool
    num_convs: int
    num_fcs: int
    box_loss: str


RCNN_HEADS: dict[str, RCNNSetting] = {
    "cascade_mask_rcnn": RCNNSetting(CASCADE, True, 4, 1, "giou"),
    "cascade_rcnn": RCNNSetting(CASCADE, False, 4, 1, "giou"),
    "mask_rcnn": RCNNSetting((StageSetting(low_quality=True),), True, 0, 2, "l1"),
    "faster_rcnn": RCNNSetting((StageSetting(),), False, 0, 2, "l1"),
}
"""The cascades as in the MSG-Transformer and Swin tables, the others as in the tables of PVT and SG-Former."""

HEADS = get_args(DetectHead)
"""Names of the detection heads."""


class RCNN(GeneralizedRCNN):
    """Two-stage detector: region proposals, then box and mask heads in one or more stages.

    Args:
        backbone: Backbone with maps of stride 4, 8, 16 and 32.
        setting: Settings of the heads.
        num_classes: Number of object classes.
        transform: Preprocessing of images and postprocessing of detections.
        limits: Limits of the returned detections.
        sizes: Sizes of the parts.
    """

    def __init__(
        self,
        backbone: DenseBackbone,
        setting: RCNNSetting,
        num_classes: int,
        transform: DetectionTransform,
        limits: DetectionLimits,
        sizes: DetectorSizes,
    ) -> None:
        width = sizes.channels
        anchors = AnchorGenerator(scales=(sizes.anchor_size / STRIDES[0],))
        rpn = RegionProposalNetwork(width, anchors, sizes.train_proposals, sizes.test_proposals)
        boxes = [
            BoxHead(width, num_classes, setting.num_convs, setting.num_fcs, width, sizes.fc_channels)
            for _ in setting.stages
        ]
        masks = [MaskHead(width, num_classes, channels=width) for _ in setting.stages if setting.with_masks]
        heads = CascadeRoIHeads(
            boxes, masks, setting.stages, num_classes, setting.box_loss, sizes.rois_per_image, limits
        )
        super().__init__(FeaturePyramid(backbone, width), rpn, heads, transform)
        self.num_classes = num_classes
        self.with_masks = setting.with_masks
        self.detections_per_image, self.nms_threshold = limits.per_image, limits.nms_threshold

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """Compute losses in training, and detections otherwise; see `create_detector`.

        Args:
            images: Images [3, H, W] each.
            targets: Ground truth per image: ``boxes`` [G, 4], ``labels`` [G] and, with masks, ``masks`` [G, H, W].
        """
        if self.training:
            check_targets(images, targets, self.num_classes, self.with_masks)
            return super().forward(images, targets)
        return super().forward(images)

    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters that the backbone exempts from weight decay."""
        return exempt_parameters(self)


def create_detector(
    backbone: str | nn.Module,
    head: str = DetectOptions.head,
    num_classes: int = 80,
    *,
    channels: int = DetectOptions.channels,
    fc_channels: int = DetectOptions.fc_channels,
    anchor_size: int = DetectOptions.anchor_size,
    train_proposals: int = DetectOptions.train_proposals,
    test_proposals: int = DetectOptions.test_proposals,
    rois_per_image: int = DetectOptions.rois_per_image,
    min_size: int | None = DetectImageOptions.test_side,
    max_size: int = DetectImageOptions.test_max_side,
    image_mean: Sequence[float] | None = None,
    image_std: Sequence[float] | None = None,
    score_threshold: float = DetectOptions.score_threshold,
    nms_threshold: float = DetectOptions.nms_threshold,
    detections_per_image: int = DetectOptions.detections_per_image,
    **backbone_options: Any,
) -> RCNN | RetinaNet:
    """Create a detector on any backbone, with the interface of torchvision's detectors.

    In training, call it with ``images``, a list of tensors [3, H, W] with values from 0 to 1, and ``targets``, one
    dictionary per image: ``boxes`` [G, 4] (x1 y1 x2 y2 in pixels), ``labels`` [G] from **1** to ``num_classes`` (as in
    torchvision, 0 is the background) and, with masks, ``masks`` [G, H, W]. It returns losses by name; sum them. In
    evaluation, call it with ``images`` only. It returns one dictionary per image: ``boxes`` [D, 4] in pixels of that
    image, ``labels`` [D] from 1, ``scores`` [D] in descending order, and boolean ``masks`` [D, H, W] (torchvision's own
    masks are probabilities [D, 1, H, W]).

    Training images are not resized; random resizing belongs to the data pipeline.

    Args:
        backbone: Name of a model of this package or of timm, or a module that returns a list of maps of stride 4, 8, 16
            and 32 and describes them in ``feature_info``.
        head: ``"cascade_mask_rcnn"``, ``"mask_rcnn"``, ``"cascade_rcnn"``, ``"faster_rcnn"`` or ``"retinanet"``.
        num_classes: Number of object classes without the background: 80 for COCO.
        channels: Channels of the pyramid and the heads' convolutions.
        fc_channels: Channels of the box heads' fully connected layers (not for RetinaNet, which has none).
        anchor_size: Side of the smallest anchors in pixels; it doubles from level to level.
        train_proposals: Proposals per level before NMS, and in total after it, in training (not for RetinaNet).
        test_proposals: Proposals per level before NMS, and in total after it, in evaluation (not for RetinaNet).
        rois_per_image: Sampled proposals per image for the losses of each stage (not for RetinaNet).
        min_size: Shorter side to which images are resized in evaluation; ``None`` for no resizing.
        max_size: Maximum of the longer side after resizing.
        image_mean: Mean per image channel; by default that of the backbone.
        image_std: Standard deviation per image channel; by default that of the backbone.
        score_threshold: Minimum probability of a detection (exclusive).
        nms_threshold: IoU above which the less probable of two boxes of one class is dropped.
        detections_per_image: Maximum number of detections per image.
        **backbone_options: ``checkpoint``, ``pretrained``, ``map_norm``, ``frozen_stages``, ``grad_checkpointing`` and
            options of the model, see `create_backbone`.

    Returns:
        The detector, in training mode.

    Raises:
        UserError: There is no such head or backbone, or a checkpoint does not fit.
    """
    if head not in HEADS:
        raise UserError(f"unknown head {head!r}{nearest(head, HEADS)} (known: {', '.join(HEADS)})")
    body = create_backbone(backbone, **backbone_options)
    transform = DetectionTransform(min_size, max_size, image_mean or body.mean, image_std or body.std)
    limits = DetectionLimits(score_threshold, nms_threshold, detections_per_image)
    sizes = DetectorSizes(channels, fc_channels, anchor_size, train_proposals, test_proposals, rois_per_image)
    if head == "retinanet":
        return RetinaNet(body, num_classes, transform, limits, channels, anchor_size)
    return RCNN(body, RCNN_HEADS[head], num_classes, transform, limits, sizes)

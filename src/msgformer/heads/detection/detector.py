"""Detectors: a backbone, a pyramid, a head, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

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
    """How large a detector is and how much it is trained on; the published detectors' sizes by default.

    Attributes:
        channels: of the pyramid and the heads' convolutions.
        fc_channels: of the box heads' fully connected layers.
        anchor_size: side of the smallest anchors in pixels; it doubles from level to level.
        train_proposals: proposals per level before NMS, and in total after it, in training.
        test_proposals: the same in evaluation.
        rois_per_image: proposals sampled an image for each stage's losses.
    """

    channels: int = 256
    fc_channels: int = 1024
    anchor_size: int = 32
    train_proposals: int = 2000
    test_proposals: int = 1000
    rois_per_image: int = 512


@dataclass(frozen=True)
class RCNNSetting:
    """What distinguishes the two-stage detectors.

    Attributes:
        stages: how each stage is trained.
        with_masks: whether there are mask heads.
        num_convs: convolutions of a box head.
        num_fcs: fully connected layers of a box head.
        box_loss: name of the box loss.
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

HEADS = (*RCNN_HEADS, "retinanet")
"""Names of the detection heads."""


class RCNN(GeneralizedRCNN):
    """Two-stage detector: region proposals, then box and mask heads in one or more stages.

    Args:
        backbone: gives maps of stride 4, 8, 16 and 32.
        setting: of the heads.
        num_classes: object classes.
        transform: of images and detections.
        limits: which detections are kept.
        sizes: of the parts.
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

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """Losses in training, detections otherwise; see :func:`create_detector`."""
        if self.training:
            check_targets(images, targets, self.num_classes, self.with_masks)
            return super().forward(images, targets)
        return super().forward(images)

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that the backbone exempts from decay."""
        return exempt_parameters(self)


def create_detector(
    backbone: str | nn.Module,
    head: str = "cascade_mask_rcnn",
    num_classes: int = 80,
    *,
    channels: int = 256,
    fc_channels: int = 1024,
    anchor_size: int = 32,
    train_proposals: int = 2000,
    test_proposals: int = 1000,
    rois_per_image: int = 512,
    min_size: int | None = 800,
    max_size: int = 1333,
    image_mean: Sequence[float] | None = None,
    image_std: Sequence[float] | None = None,
    score_threshold: float = 0.05,
    nms_threshold: float = 0.5,
    detections_per_image: int = 100,
    **backbone_options: Any,
) -> RCNN | RetinaNet:
    """A detector on any backbone, used as torchvision's detectors are.

    In training it is called with ``images``, a list of tensors [3, H, W] with values from 0 to 1, and ``targets``, for
    each image a dictionary of ``boxes`` [G, 4] (x1 y1 x2 y2 in pixels), ``labels`` [G] from **1** to ``num_classes``
    (as in torchvision, 0 is the background's) and, with masks, ``masks`` [G, H, W]; it returns losses by name, to be
    summed. In evaluation it is called with ``images`` alone and returns for each image a dictionary of ``boxes``
    [D, 4] in pixels of that image, ``labels`` [D] from 1 on, ``scores`` [D], best first, and ``masks`` [D, H, W],
    bool (torchvision's own are probabilities [D, 1, H, W]).

    Training images are taken as they come; resizing them at random is up to the data pipeline.

    Args:
        backbone: name of a model of this package or of timm, or a module that returns a list of maps of stride 4, 8,
            16 and 32 and describes them in ``feature_info``.
        head: ``"cascade_mask_rcnn"``, ``"mask_rcnn"``, ``"cascade_rcnn"``, ``"faster_rcnn"`` or ``"retinanet"``.
        num_classes: object classes, the background not counted: 80 for COCO.
        channels: of the pyramid and the heads' convolutions.
        fc_channels: of the box heads' fully connected layers (not for RetinaNet, which has none).
        anchor_size: side of the smallest anchors in pixels; it doubles from level to level.
        train_proposals: proposals per level before NMS, and in total after it, in training (not for RetinaNet).
        test_proposals: the same in evaluation (not for RetinaNet).
        rois_per_image: proposals sampled an image for each stage's losses (not for RetinaNet).
        min_size: shorter side that images are resized to in evaluation, ``None`` for not at all.
        max_size: bound of the longer side then.
        image_mean: of the image's channels; by default what the backbone was made for.
        image_std: of the image's channels; by default what the backbone was made for.
        score_threshold: probability that a detection must exceed.
        nms_threshold: IoU above which the weaker of two boxes of one class is dropped.
        detections_per_image: number of detections kept.
        **backbone_options: ``checkpoint``, ``pretrained``, ``map_norm``, ``frozen_stages``, ``grad_checkpointing`` and
            options of the model, see :func:`~msgformer.heads.backbone.create_backbone`.

    Returns:
        The detector, in training mode.

    Raises:
        UserError: there is no such head or backbone, or a checkpoint doesn't fit.
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

"""Options of detectors and segmenters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from msgformer.config.ranges import AT_LEAST_0, AT_LEAST_1, PROBABILITY, Needs, option

DetectHead = Literal["cascade_mask_rcnn", "mask_rcnn", "cascade_rcnn", "faster_rcnn", "retinanet"]
AnyDetectHead = Literal["auto", DetectHead]
"""A head, or "auto" for the one that fits the data."""

BOX_HEADS = ("cascade_rcnn", "faster_rcnn", "retinanet")
"""Heads that predict no masks."""

SegmentHead = Literal["upernet", "semantic_fpn"]
SegmentLoss = Literal["ce", "focal", "dice", "ce+dice", "ohem"]

_TWO_STAGES = Needs("a detect.head of two stages, not retinanet", lambda detect: detect.head != "retinanet")
_UPERNET = Needs("segment.head upernet", lambda segment: segment.head == "upernet")
_AUXILIARY = Needs(
    "segment.head upernet and segment.auxiliary true",
    lambda segment: segment.head == "upernet" and segment.auxiliary,
)


@dataclass(frozen=True)
class DetectOptions:
    """Detector options. The defaults are those of the published Cascade Mask R-CNN.

    Attributes:
        head: Type of detector; "auto" is mask_rcnn for data with masks, and faster_rcnn for data with boxes only.
        channels: Width of the feature pyramid and of the convolutions in the heads.
        fc_channels: Width of the fully connected layers of the box heads.
        anchor_size: Side of the smallest anchors in pixels; it doubles from level to level.
        train_proposals: Proposals in training: per level before non-maximum suppression, and in total after it.
        test_proposals: Likewise in evaluation.
        rois_per_image: Proposals per image that are sampled for the losses.
        score_threshold: Minimum score of a detection.
        nms_threshold: IoU above which non-maximum suppression drops the weaker of two boxes of one class.
        detections_per_image: Maximum number of detections per image.
        map_norm: Apply a LayerNorm to each feature map of the backbone; null means only if the backbone has none.
        frozen_stages: Number of backbone stages to freeze; the stem belongs to the first.
    """

    head: AnyDetectHead = "cascade_mask_rcnn"
    channels: int = option(256, AT_LEAST_1)
    fc_channels: int = option(1024, AT_LEAST_1, needs=_TWO_STAGES)
    anchor_size: int = option(32, AT_LEAST_1)
    train_proposals: int = option(2000, AT_LEAST_1, needs=_TWO_STAGES)
    test_proposals: int = option(1000, AT_LEAST_1, needs=_TWO_STAGES)
    rois_per_image: int = option(512, AT_LEAST_1, needs=_TWO_STAGES)
    score_threshold: float = option(0.05, PROBABILITY)
    nms_threshold: float = option(0.5, PROBABILITY)
    detections_per_image: int = option(100, AT_LEAST_1)
    map_norm: bool | None = None
    frozen_stages: int = option(0, AT_LEAST_0)


@dataclass(frozen=True)
class SegmentOptions:
    """Segmenter options. The defaults are those of the common UPerNet.

    Attributes:
        head: Type of head.
        channels: Width of the head; null means 512 for UPerNet and 128 for Semantic FPN.
        auxiliary: Train UPerNet with an auxiliary head on the feature map of stride 16.
        auxiliary_weight: Weight of the auxiliary loss.
        map_norm: Apply a LayerNorm to each feature map of the backbone; null means only if the backbone has none.
        frozen_stages: Number of backbone stages to freeze; the stem belongs to the first.
        loss: Loss: cross entropy (ce), focal loss, Dice loss, the sum of both, or cross entropy of hard pixels (ohem).
        class_weights: Weight of each class in the loss: a list in the order of the classes, a mapping by name (1 for
            the others), or "balanced" for the inverse of the frequency in the training label maps.
    """

    head: SegmentHead = "upernet"
    channels: int | None = option(None, AT_LEAST_1)
    auxiliary: bool = option(True, needs=_UPERNET)
    auxiliary_weight: float = option(0.4, AT_LEAST_0, needs=_AUXILIARY)
    map_norm: bool | None = None
    frozen_stages: int = option(0, AT_LEAST_0)
    loss: SegmentLoss = "ce"
    class_weights: Literal["balanced"] | list[float] | dict[str, float] | None = None

"""What a user may set about detectors and segmenters; light, so that the command line can read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DetectHead = Literal["cascade_mask_rcnn", "mask_rcnn", "cascade_rcnn", "faster_rcnn", "retinanet"]
SegmentHead = Literal["upernet", "semantic_fpn"]


@dataclass(frozen=True)
class DetectOptions:
    """The detector. The defaults are the published Cascade Mask R-CNN's.

    Attributes:
        head: Kind of detector.
        channels: Width of the pyramid and of the heads' convolutions.
        fc_channels: Width of the box heads' fully connected layers.
        anchor_size: Side of the smallest anchors in pixels; it doubles from level to level.
        train_proposals: Proposals per level before suppression, and in total after it, in training.
        test_proposals: The same in evaluation.
        rois_per_image: Proposals sampled an image for the losses.
        score_threshold: Probability that a detection must exceed.
        nms_threshold: Overlap above which the weaker of two boxes of one class is dropped.
        detections_per_image: Most detections in an image.
        map_norm: Whether a LayerNorm stands on each of the backbone's maps; null: unless the backbone has its own.
        frozen_stages: How many of the backbone's stages, the stem with the first one, keep their weights.
    """

    head: DetectHead = "cascade_mask_rcnn"
    channels: int = 256
    fc_channels: int = 1024
    anchor_size: int = 32
    train_proposals: int = 2000
    test_proposals: int = 1000
    rois_per_image: int = 512
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    detections_per_image: int = 100
    map_norm: bool | None = None
    frozen_stages: int = 0


@dataclass(frozen=True)
class SegmentOptions:
    """The segmenter. The defaults are the common UPerNet's.

    Attributes:
        head: Kind of head.
        channels: Width of the head; null: 512 for UPerNet, 128 for Semantic FPN.
        auxiliary: Whether UPerNet is trained with an auxiliary head on the map of stride 16.
        auxiliary_weight: Weight of its loss.
        map_norm: Whether a LayerNorm stands on each of the backbone's maps; null: unless the backbone has its own.
        frozen_stages: How many of the backbone's stages, the stem with the first one, keep their weights.
    """

    head: SegmentHead = "upernet"
    channels: int | None = None
    auxiliary: bool = True
    auxiliary_weight: float = 0.4
    map_norm: bool | None = None
    frozen_stages: int = 0

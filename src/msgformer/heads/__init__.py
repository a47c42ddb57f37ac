"""Heads that turn a backbone into a detector or segmenter: pyramid, region proposals, cascaded heads, UPerNet."""

from msgformer.heads.backbone import DenseBackbone, create_backbone
from msgformer.heads.complexity import count_detector_macs, count_segmenter_macs
from msgformer.heads.detection.detector import RCNN, create_detector
from msgformer.heads.detection.retinanet import RetinaNet
from msgformer.heads.pyramid import FeaturePyramid, create_pyramid
from msgformer.heads.segmentation.segmenter import Segmenter, create_segmenter

__all__ = [
    "RCNN",
    "DenseBackbone",
    "FeaturePyramid",
    "RetinaNet",
    "Segmenter",
    "count_detector_macs",
    "count_segmenter_macs",
    "create_backbone",
    "create_detector",
    "create_pyramid",
    "create_segmenter",
]

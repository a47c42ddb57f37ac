"""What turns a backbone into a detector or a segmenter: pyramid, region proposals, cascaded heads, UPerNet."""

from msgformer.dense.backbone import DenseBackbone, create_backbone
from msgformer.dense.complexity import count_detector_macs, count_segmenter_macs
from msgformer.dense.detector import RCNN, create_detector
from msgformer.dense.pyramid import FeaturePyramid, create_pyramid
from msgformer.dense.retinanet import RetinaNet
from msgformer.dense.segmenter import Segmenter, create_segmenter

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

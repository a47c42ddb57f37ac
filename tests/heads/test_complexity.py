"""Sizes and multiply-adds of the published detectors and segmenters."""

import pytest
import torch

from msgformer.heads import count_detector_macs, count_segmenter_macs, create_detector, create_segmenter
from msgformer.heads.detection.detector import HEADS

# Millions of parameters and billions of multiply-adds at 1280 x 800, as the papers print them.
CASCADES = {
    "resnet50": ("82.23", 738.7),
    "swin_tiny_patch4_window7_224": ("85.63", 745.5),
    "msg_transformer_tiny": ("82.56", 730.6),
    "msg_transformer_small": ("113.31", 830.8),
    "msg_transformer_base": ("141.73", 956.4),
    "msg_transformer_v1_tiny": ("85.63", 748),
    "msg_transformer_v1_small": ("106.95", 842),
    "msg_transformer_v1_base": ("144.98", 990),
}
# Billions by our count; the SG-Former table prints 989, 1114 and 1304.
SEGMENTERS = {
    "sgformer_small": ("52.34", 1031),
    "sgformer_medium": ("68.48", 1138),
    "sgformer_base": ("109.60", 1380),
}


def millions(model, digits=2):
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.{digits}f}"


@pytest.mark.parametrize("name", CASCADES)
def test_cascades_have_the_published_sizes(name):
    parameters, macs = CASCADES[name]
    with torch.device("meta"):
        detector = create_detector(name)
    assert millions(detector) == parameters
    parts = count_detector_macs(detector)
    assert sum(parts.values()) / 1e9 == pytest.approx(macs, rel=0.002)
    assert parts["box_heads"] / 1e9 == pytest.approx(386.6, rel=0.001)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_upernets_have_the_published_sizes(name):
    parameters, macs = SEGMENTERS[name]
    with torch.device("meta"):
        segmenter = create_segmenter(name)
    assert millions(segmenter) == parameters
    assert count_segmenter_macs(segmenter) / 1e9 == pytest.approx(macs, rel=0.002)


@pytest.mark.parametrize(("name", "parameters"), [("sgformer_small", "42.2"), ("sgformer_medium", "58.3")])
def test_mask_rcnns_have_the_published_sizes(name, parameters):
    with torch.device("meta"):
        assert millions(create_detector(name, "mask_rcnn"), 1) == parameters


@pytest.mark.parametrize("head", HEADS)
def test_every_head_is_counted(head):
    with torch.device("meta"):
        detector = create_detector("resnet18", head)
    parts = count_detector_macs(detector, (256, 320))
    assert all(part > 0 for part in parts.values())
    assert ("mask_heads" in parts) == ("mask" in head)
    assert next(detector.parameters()).device.type == "meta"

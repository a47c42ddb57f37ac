import pytest

from heads.conftest import TINY_DETECTOR
from msgformer.heads import create_detector
from msgformer.heads.detection.detections import raised_limit


def test_anchors_have_three_sizes_per_octave():
    detector = create_detector("msg_transformer_tiny", "retinanet", 3, **TINY_DETECTOR)
    for level, sizes in enumerate(detector.anchor_generator.sizes):
        side = 32 * 2**level  # RetinaNet, section 4
        assert sizes == pytest.approx([side, side * 2 ** (1 / 3), side * 2 ** (2 / 3)])


def test_the_limit_of_detections_can_be_raised_but_not_lowered():
    detector = create_detector("msg_transformer_tiny", "retinanet", 3, detections_per_image=40, **TINY_DETECTOR)
    assert detector.detections_per_img == detector.detections_per_image == 40
    with raised_limit(70):
        assert detector.detections_per_img == 70
    with raised_limit(10):
        assert detector.detections_per_img == 40

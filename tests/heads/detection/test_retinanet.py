import pytest

from heads.conftest import TINY_DETECTOR
from msgformer.heads import create_detector


def test_anchors_have_three_sizes_per_octave():
    detector = create_detector("msg_transformer_tiny", "retinanet", 3, **TINY_DETECTOR)
    for level, sizes in enumerate(detector.anchor_generator.sizes):
        side = 32 * 2**level  # RetinaNet, section 4
        assert sizes == pytest.approx([side, side * 2 ** (1 / 3), side * 2 ** (2 / 3)])

import torch

from msgformer.heads.detection.anchors import AnchorGenerator


def test_base_anchors_are_not_rounded(compact):
    assert torch.equal(torch.cat(AnchorGenerator().cell_anchors), compact["rpn.base_anchors"])


def test_anchors_of_all_levels(golden, images):
    anchors = AnchorGenerator()(images, golden["feats"])
    assert len(anchors) == 2
    assert torch.equal(anchors[0], torch.cat(golden["rpn"]["anchors"]))


def test_strides_are_given_and_coordinates_float32(images):
    """A level whose side was rounded up, in bfloat16: torchvision's generator gets both wrong."""
    feature = torch.zeros(2, 1, 21, 21, dtype=torch.bfloat16)
    anchors = AnchorGenerator(scales=(1,), ratios=(1.0,), strides=(64,))(images, [feature])[0]
    assert anchors.dtype == torch.float32
    assert torch.equal(anchors[-1], torch.tensor([20 * 64 - 32, 20 * 64 - 32, 20 * 64 + 32, 20 * 64 + 32.0]))

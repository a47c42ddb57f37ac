import pytest
import torch

from msgformer.heads.detection.roi_extractor import RoIExtractor, boxes_to_rois


def test_levels(compact):
    assert torch.equal(RoIExtractor(7).levels(compact["extractor.rois"]), compact["extractor.levels"])


@pytest.mark.parametrize("size", [7, 14])
def test_regions_equal_the_golden_file(golden, size):
    case = golden["extractor"]
    regions = RoIExtractor(size)(golden["feats"], case["rois"])
    torch.testing.assert_close(regions, case[f"out{size}"], atol=1e-6, rtol=1e-6)


def test_half_precision_maps_are_sampled_at_exact_positions():
    """On a ramp the value is the place: bfloat16 coordinates would be off by whole pixels."""
    ramp = torch.arange(256.0).expand(1, 1, 256, 256) / 256
    rois = torch.tensor([[0, 801.3, 801.3, 829.3, 829.3]])
    region = RoIExtractor(7)([ramp.bfloat16()], rois)
    assert region.dtype == torch.bfloat16
    expected = (801.3 + 2 + 4 * torch.arange(7)) / 4 - 0.5
    torch.testing.assert_close(region[0, 0, 3].float() * 256, expected, atol=0.6, rtol=0)


def test_no_regions_keep_the_gradient():
    maps = [torch.rand(1, 3, 8 // 2**i, 8 // 2**i, requires_grad=True) for i in range(4)]
    regions = RoIExtractor(7)(maps, boxes_to_rois([torch.zeros(0, 4)]))
    assert regions.shape == (0, 3, 7, 7)
    regions.sum().backward()
    assert maps[0].grad.abs().sum() == 0

import pytest
import torch
from torch.testing import assert_close

from msgformer.models.merging import NeighborMerging, OverlappingMerging, PatchEmbed
from msgformer.models.window import Grid


@pytest.mark.parametrize("overlapping", [True, False])
@pytest.mark.parametrize(("side", "tokens"), [(8, 2), (9, 3), (11, 3), (4, 1)])
def test_patch_tokens_have_stride_4_and_cover_the_image(overlapping, side, tokens):
    torch.manual_seed(0)
    embed = PatchEmbed(3, 8, overlapping)
    image = torch.randn(2, 3, side, 12)
    found = embed(image)
    assert found.shape == (2, tokens, 3, 8)
    image[:, :, -1] += 5
    assert not torch.allclose(embed(image)[:, -1], found[:, -1])


@pytest.mark.parametrize("merging", [OverlappingMerging, NeighborMerging])
@pytest.mark.parametrize(("rows", "cols"), [(4, 6), (5, 3), (1, 1)])
def test_patch_tokens_and_messengers_are_merged_alike(merging, rows, cols):
    torch.manual_seed(0)
    layer = merging(6).double()
    x = torch.randn(2, rows, cols, 6, dtype=torch.float64)
    merged = layer(x)
    assert merged.shape == (2, -(-rows // 2), -(-cols // 2), 12)
    assert_close(layer.merge_messengers(x.flatten(0, 2), Grid(2, rows, cols)), merged.flatten(0, 2))


def test_neighbors_are_read_column_by_column():
    layer = NeighborMerging(1)
    layer.norm = torch.nn.Identity()
    layer.reduction = torch.nn.Identity()
    x = torch.arange(4.0).view(1, 2, 2, 1)
    assert layer(x).flatten().tolist() == [0, 2, 1, 3]

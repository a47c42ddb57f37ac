from types import SimpleNamespace

import pytest
import torch
from torch import nn

from heads.conftest import TINY
from msgformer.heads import create_pyramid


class Maps(nn.Module):
    """A body that gives the maps of the golden file."""

    def __init__(self, maps):
        super().__init__()
        self.maps = maps
        channels = [x.shape[1] for x in maps]
        self.feature_info = SimpleNamespace(
            reduction=lambda: [4, 8, 16, 32], channels=lambda: channels, module_name=lambda: []
        )

    def forward(self, _):
        return self.maps


def test_levels_equal_the_golden_file(golden, images):
    pyramid = create_pyramid(Maps(golden["fpn"]["inputs"]), 32, map_norm=False)
    names = (("lateral_convs", "inner_blocks"), ("fpn_convs", "layer_blocks"), (".conv.", ".0."))
    state = golden["fpn"]["state"]
    for theirs, ours in names:
        state = {name.replace(theirs, ours): value for name, value in state.items()}
    pyramid.fpn.load_state_dict(state)
    levels = pyramid(images.tensors).values()
    for ours, theirs in zip(levels, golden["fpn"]["outputs"], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (224, 160), (352, 96)])
def test_levels_of_any_size(size):
    pyramid = create_pyramid("msg_transformer_tiny", 32, **TINY).eval()
    levels = pyramid(torch.rand(1, 3, *size))
    assert pyramid.out_channels == 32
    expected = {
        name: (1, 32, -(-size[0] // s), -(-size[1] // s)) for name, s in zip("0123", (4, 8, 16, 32), strict=True)
    }
    assert {name: tuple(x.shape) for name, x in levels.items() if name != "pool"} == expected
    assert tuple(levels["pool"].shape) == (1, 32, -(-size[0] // 64), -(-size[1] // 64))


def test_memory_is_linear_in_the_image_area():
    """What is saved for the backward pass, from 256 to 1536 pixels; nothing is computed."""
    with torch.device("meta"):
        pyramid = create_pyramid("msg_transformer_tiny", drop_path_rate=0.0)

    parameters = {p.untyped_storage()._cdata for p in pyramid.parameters()}

    def bytes_per_pixel(side):
        saved = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage._cdata not in parameters:
                saved[storage._cdata] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            levels = pyramid(torch.empty(1, 3, side, side, device="meta"))
        assert levels["0"].requires_grad
        return sum(saved.values()) / side**2

    # Sides of whole windows at every stage; others add at most a window's border.
    small, medium, large = (bytes_per_pixel(side) for side in (224, 448, 1344))
    assert medium == pytest.approx(small, rel=0.05)
    assert large == pytest.approx(small, rel=0.05)
    assert bytes_per_pixel(1536) < bytes_per_pixel(256) * 1.05

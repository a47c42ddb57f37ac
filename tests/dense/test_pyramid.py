import pytest
import torch

from dense.conftest import TINY
from msgformer.dense import create_pyramid


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
    """What is kept for the backward pass, from 256 to 1536 pixels; nothing is computed."""
    with torch.device("meta"):
        pyramid = create_pyramid("msg_transformer_tiny", drop_path_rate=0.0)

    parameters = {p.untyped_storage()._cdata for p in pyramid.parameters()}

    def bytes_per_pixel(side):
        kept = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage._cdata not in parameters:
                kept[storage._cdata] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            levels = pyramid(torch.empty(1, 3, side, side, device="meta"))
        assert levels["0"].requires_grad
        return sum(kept.values()) / side**2

    # Sides of whole windows at every stage; others add at most a window's border.
    small, medium, large = (bytes_per_pixel(side) for side in (224, 448, 1344))
    assert medium == pytest.approx(small, rel=0.05)
    assert large == pytest.approx(small, rel=0.05)
    assert bytes_per_pixel(1536) < bytes_per_pixel(256) * 1.05

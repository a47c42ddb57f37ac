import pytest
import torch
from torch.testing import assert_close

from msgformer.model_parts import relative_position_index
from msgformer.models.window_attention import WindowAttention, gather_entries


def attention(window=(2, 3), **changes):
    torch.manual_seed(0)
    settings = {"dim": 8, "num_heads": 2, "qkv_bias": True, "attn_drop": 0.0, "proj_drop": 0.0, **changes}
    layer = WindowAttention(window=window, **settings).double()
    torch.nn.init.normal_(layer.relative_position_bias_table)
    torch.nn.init.normal_(layer.rel_pos_msg)
    return layer


def definition(layer, x):
    """Equation 5, head by head."""
    query, key, value = layer.qkv(x).view(*x.shape[:2], 3, layer.num_heads, -1).permute(2, 3, 0, 1, 4)
    heads = [
        (query[h] @ key[h].mT / query.shape[-1] ** 0.5 + layer.position_bias()[h]).softmax(-1) @ value[h]
        for h in range(layer.num_heads)
    ]
    return layer.proj(torch.cat(heads, dim=-1))


def test_index_follows_equation_6():
    height, width = 2, 3
    index = relative_position_index((height, width))
    entries = (2 * height - 1) * (2 * width - 1)
    assert index.shape == (7, 7)
    assert (index[0] == entries + 1).all()  # the MSG token attends: theta_1
    assert (index[1:, 0] == entries).all()  # a patch token attends to the MSG token: theta_2
    for query in range(height * width):
        for key in range(height * width):
            down, right = query // width - key // width, query % width - key % width
            assert index[1 + query, 1 + key] == (down + height - 1) * (2 * width - 1) + right + width - 1


def test_entries_are_gathered_per_head():
    entries = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    index = torch.tensor([[2, 0], [1, 1]])
    assert gather_entries(entries, index).tolist() == [[[3, 1], [2, 2]], [[6, 4], [5, 5]]]


@pytest.mark.parametrize("attn_drop", [0.0, 1e-9])
def test_windows_attend_as_defined(attn_drop):
    layer = attention(attn_drop=attn_drop).train(attn_drop == 0)
    x = torch.randn(3, 7, 8, dtype=torch.float64)
    assert_close(layer(x), definition(layer, x))
    assert_close(layer(x, num_queries=2), definition(layer, x)[:, :2])


@pytest.mark.parametrize("window", [(2, 2), (2, 3)])
def test_bias_table_is_resampled_for_another_window(window):
    layer = attention(window)
    torch.nn.init.constant_(layer.relative_position_bias_table, 0.5)
    layer.set_window_size((4, 4))
    assert layer.relative_position_bias_table.shape == (49, 2)
    assert_close(layer.relative_position_bias_table, torch.full((49, 2), 0.5, dtype=torch.float64))
    assert layer.position_bias().shape == (2, 17, 17)


def test_index_is_restored_after_allocation_without_values():
    layer = attention().to("meta").to_empty(device="cpu")
    layer.init_non_persistent_buffers()
    assert torch.equal(layer.bias_index, torch.from_numpy(relative_position_index((2, 3))))


def test_channels_must_be_divisible_by_heads():
    with pytest.raises(ValueError, match="8 channels are not divisible by 3 heads"):
        attention(num_heads=3)

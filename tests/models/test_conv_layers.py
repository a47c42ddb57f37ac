import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from msgformer.models.conv_layers import Downsample, LocalPosition, PatchEmbed, conv_map, depthwise, init_conv


def test_convolution_of_a_map_with_channels_last():
    conv, x = nn.Conv2d(3, 5, 3, stride=2, padding=1), torch.randn(2, 6, 7, 3)
    assert_close(conv_map(conv, x), conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


def test_depthwise_convolution_does_not_mix_channels():
    conv, x = depthwise(4), torch.randn(1, 4, 5, 6)
    before = conv(x)
    x[:, 2] += 1
    changed = (conv(x) != before).flatten(2).any(-1)
    assert changed.tolist() == [[False, False, True, False]]
    assert before.shape == x.shape


@pytest.mark.parametrize(("side", "tokens"), [(32, 8), (33, 9), (35, 9)])
def test_patches_have_stride_4(side, tokens):
    embed = PatchEmbed(3, 8)
    out = embed(torch.randn(2, 3, side, 16))
    assert out.shape == (2, tokens, 4, 8)
    assert_close(out.mean(-1), torch.zeros(2, tokens, 4), atol=1e-5, rtol=0)  # ends with a LayerNorm


def test_downsampling_is_three_normalized_convolutions_with_gelu_between():
    torch.manual_seed(0)
    layer, x = Downsample(4, 6), torch.randn(2, 5, 7, 4)
    first, second, third = layer.layers
    expected = third(F.gelu(second(F.gelu(first(x.permute(0, 3, 1, 2))))))
    assert_close(layer(x), expected.permute(0, 2, 3, 1))
    assert layer(x).shape == (2, 3, 4, 6)
    assert first.conv.bias is None


def test_local_position_is_a_linear_layer_and_a_convolution():
    layer, x = LocalPosition(4), torch.randn(2, 5, 6, 4)
    assert_close(layer(x), layer.conv(layer.linear(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


def test_initial_weights_depend_on_the_outputs_of_a_group():
    torch.manual_seed(0)
    for conv, fan_out in ((nn.Conv2d(64, 128, 3), 9 * 128), (nn.Conv2d(2048, 2048, 3, groups=2048), 9)):
        init_conv(conv)
        assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
        assert (conv.bias == 0).all()

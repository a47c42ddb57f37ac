"""Linear layers and half-blocks by C++ kernels: results, and fallback to PyTorch."""

import copy
import pickle
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from msgformer.kernels.cpu.attention import pad_bias
from msgformer.optimized import products
from msgformer.optimized.packed import PackedConv2d, PackedLinear, prepare_layouts

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")

EPS = 1e-6
SIZES = [  # tokens, channels in, channels out
    (1, 16, 16),
    (7, 48, 80),
    (50, 512, 144),
    (300, 64, 192),
    (1030, 272, 64),
]


def numbers(*size):
    return torch.randn(size, generator=torch.Generator().manual_seed(sum(size)))


def exact(x, weight, bias, eps=None):
    """A linear layer in float64, after a norm if there is one."""
    x = x.double()
    if eps is not None:
        x = F.layer_norm(x, x.shape[-1:], eps=eps)
    return F.linear(x, weight.double(), None if bias is None else bias.double())


@pytest.mark.parametrize("size", SIZES)
def test_linear_layers_equal_the_definition(size, processor):
    rows, channels, columns = size
    x, weight = numbers(2, rows, channels) + 0.5, numbers(columns, channels) / channels**0.5
    bias = numbers(columns)
    residual, panels = numbers(2, rows, columns), products.pack(weight)
    close = dict(rtol=1e-5, atol=5e-6)
    none = products.NO_NORM
    torch.testing.assert_close(
        products.linear(x, panels, None, None, none, False), exact(x, weight, None).float(), **close
    )
    torch.testing.assert_close(
        products.linear(x, panels, bias, residual, EPS, False),
        (exact(x, weight, bias, EPS) + residual).float(),
        **close,
    )
    torch.testing.assert_close(
        products.linear(x, panels, bias, None, EPS, True), F.gelu(exact(x, weight, bias, EPS)).float(), **close
    )


@pytest.mark.parametrize("rows", [3, 200, 1500])
def test_mlps_equal_the_definition(rows):
    x, first, second = numbers(rows, 64), numbers(256, 64) / 8, numbers(64, 256) / 16
    bias = numbers(256)
    out = products.mlp(x, products.pack(first), bias, products.pack(second), None, EPS)
    expected = x + exact(F.gelu(exact(x, first, bias, EPS)), second, None)
    torch.testing.assert_close(out, expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("windows", [1, 4, 70])
def test_window_attention_equals_the_definition(windows, processor):
    heads, tokens, channels = 2, 26, 64
    x, bias = numbers(windows, tokens, channels), numbers(1, heads, tokens, tokens)
    qkv, proj, qkv_bias = numbers(3 * channels, channels) / 8, numbers(channels, channels) / 8, numbers(3 * channels)
    query, key, value = exact(x, qkv, qkv_bias, EPS).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    weights = (query @ key.mT / (channels / heads) ** 0.5 + bias).softmax(-1)
    expected = x + exact((weights @ value).transpose(1, 2).flatten(2), proj, None)
    layers = products.pack(qkv), qkv_bias, products.pack(proj), None
    out = products.window_attention(x, *layers, pad_bias(bias), heads, EPS)
    torch.testing.assert_close(out, expected.float(), rtol=1e-5, atol=1e-5)


def test_nan_stays_in_its_token():
    x = numbers(9, 32)
    x[4, 7] = float("nan")
    panels = products.pack(numbers(32, 32))
    is_nan = products.mlp(x, panels, None, panels, None, EPS).isnan()
    assert is_nan[4].all()
    assert is_nan.sum() == 32


def test_operators_pass_opcheck():
    ops, x, panels = torch.ops.msgformer, numbers(3, 9, 32), products.pack(numbers(32, 32))
    wide, bias = products.pack(numbers(96, 32)), numbers(32)
    torch.library.opcheck(ops.native_linear.default, (x, wide, None, numbers(3, 9, 96), EPS, False))
    torch.library.opcheck(ops.native_mlp.default, (x, wide, None, wide, bias, EPS))
    layers = wide, None, panels, bias
    torch.library.opcheck(ops.native_window_attention.default, (x, *layers, pad_bias(numbers(1, 2, 9, 9)), 2, EPS))
    layers = wide, None, numbers(9, 96), None, wide, bias
    maps = numbers(1, 3, 4, 32)
    torch.library.opcheck(ops.native_conv_between.default, (maps, *layers, None, maps.clone(), EPS, True))


def test_compiled_graphs_call_them_and_exported_ones_do_not():
    graphs = []

    def keep(graph, _):
        graphs.append(graph.code)
        return graph

    layer = PackedLinear(numbers(48, 32), numbers(48), activation="gelu", eps=EPS)
    prepare_layouts(layer)
    x = numbers(4, 32)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(layer, backend=keep, fullgraph=True)(x), layer(x))
        assert "native_linear" in graphs[0]
        exported = torch.export.export(layer, (x,))
    assert "native" not in exported.graph_module.code
    assert exported.state_dict.keys() == {"weight", "bias"}
    torch.testing.assert_close(exported.module()(x), layer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(40, 16), (16, 40)])
def test_unsupported_numbers_of_channels_are_computed_by_pytorch(size):
    layer, x = PackedLinear(numbers(*size), None), numbers(5, size[1])
    assert layer.panels_for(x) is None
    torch.testing.assert_close(layer(x), exact(x, layer.weight, None).float(), rtol=1e-5, atol=1e-5)


def test_layouts_are_dropped_on_conversion_and_pickling():
    layer = PackedLinear(numbers(16, 16), None)
    x = numbers(2, 16)
    expected = layer(x)
    assert layer.panels is not None
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.panels is None
        assert torch.equal(other(x), expected)
    assert layer.double().panels is None
    assert layer(x.double()).dtype == torch.float64
    nn.Module.float(layer)
    assert torch.equal(layer(x), expected)


@pytest.mark.parametrize("size", [(2, 5, 3), (1, 1, 1), (1, 40, 20), (1, 3, 600)])
@pytest.mark.parametrize("kind", ["mlp", "local term"])
def test_layers_around_convolutions_equal_the_definition(size, kind, processor):
    x, residual, added = numbers(*size, 32), numbers(*size, 16), numbers(*size, 48)
    first, second, kernel = numbers(48, 32) / 4, numbers(16, 48) / 4, numbers(48, 1, 3, 3)
    bias, tap_bias = numbers(48), numbers(48) / 2
    is_mlp = kind == "mlp"
    convolved = F.conv2d(
        exact(x, first, bias, EPS if is_mlp else None).movedim(3, 1), kernel.double(), tap_bias.double(), 1, 1, 1, 48
    ).movedim(1, 3)
    middle = F.gelu(convolved) if is_mlp else convolved + added
    layers = products.pack(first), bias, kernel.flatten(1).T.contiguous(), tap_bias, products.pack(second), None
    more = (None, residual, EPS, True) if is_mlp else (added, residual, products.NO_NORM, False)
    out = products.conv_between(x, *layers, *more)
    torch.testing.assert_close(out, (residual + exact(middle, second, None)).float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_convolutions_of_one_pixel_are_products(activation):
    conv = nn.Conv2d(48, 32, 1).requires_grad_(False)
    x, residual = numbers(2, 48, 5, 7), numbers(2, 32, 5, 7)
    packed = PackedConv2d(conv, activation=activation)
    assert packed.panels_for(x) is not None
    expected = F.gelu(conv(x)) if activation == "gelu" else conv(x)
    torch.testing.assert_close(packed(x), expected, rtol=1e-5, atol=1e-5)
    assert packed(x).is_contiguous(memory_format=torch.channels_last)
    if activation == "none":
        torch.testing.assert_close(packed(x, residual), expected + residual, rtol=1e-5, atol=1e-5)
    for other in (nn.Conv2d(48, 32, 1, stride=2), nn.Conv2d(48, 32, 1, groups=2), nn.Conv2d(48, 32, 3, padding=1)):
        assert PackedConv2d(other).panels_for(x) is None

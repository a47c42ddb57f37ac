"""Attention and norms by C++ kernels: results, and fallback to PyTorch."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from msgformer.kernels.cpu.attention import pad_bias
from msgformer.optimized.ops import (
    attend,
    attend_and_measure,
    attend_and_measure_unfused,
    is_norm_supported,
    is_supported,
    norm_gelu,
    norm_tokens,
    pad_keys,
    padding_bias,
)

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")

HEADS = 2
SHAPES = [  # windows, queries, keys (as many if None), channels of a head
    (5, 50, None, 32),
    (1, 1, 50, 32),
    (2, 600, 49, 16),
    (3, 7, 3, 48),
    (1, 33, 512, 64),
]


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.inference_mode():
        yield


def inputs(windows, rows, count, depth, factor=1.0):
    generator = torch.Generator().manual_seed(0)
    channels = HEADS * depth
    if count is None:
        return factor * torch.randn(windows, rows, 3 * channels, generator=generator), None, rows
    x = factor * torch.randn(windows, rows, channels, generator=generator)
    return x, factor * torch.randn(windows, count, 2 * channels, generator=generator), count


def weights(x, key_value, bias=0.0):
    """Values and softmax in float64, by the definition."""
    query, key, value = x.chunk(3, -1) if key_value is None else (x, *key_value.chunk(2, -1))
    query, key, value = (part.double().unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (query, key, value))
    return (query @ key.mT / query.shape[-1] ** 0.5 + bias).softmax(-1), value


def tokens(mixed):
    return mixed.transpose(1, 2).flatten(2).float()


@pytest.mark.parametrize("shape", SHAPES)
def test_attention_equals_the_definition(shape, processor):
    x, key_value, keys = inputs(*shape)
    bias = torch.randn(1, HEADS, x.shape[1], keys)
    given = [x] if key_value is None else [x, key_value]
    assert is_supported(given, HEADS)
    for added in (None, bias):
        expected, value = weights(x, key_value, 0.0 if added is None else added)
        out = attend(given, HEADS, None if added is None else pad_bias(added))
        torch.testing.assert_close(out, tokens(expected @ value), rtol=1e-5, atol=2e-6)
    expected, value = weights(x, key_value)
    out, received = attend_and_measure(given, HEADS)
    torch.testing.assert_close(out, tokens(expected @ value), rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(received, expected.mean((1, 2)).float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 16, 3, 5), (2, 64, 20, 30)])
def test_norm_and_gelu_equal_the_definition(size, processor):
    x = (2 + 3 * torch.randn(size)).to(memory_format=torch.channels_last)
    norm = nn.GroupNorm(1, size[1])
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    expected = F.group_norm(x.double(), 1, norm.weight.double(), norm.bias.double(), norm.eps)
    norm.requires_grad_(False)
    assert is_norm_supported(norm, x)
    torch.testing.assert_close(norm_gelu(norm, x.clone(), False), expected.float(), rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(norm_gelu(norm, x.clone(), True), F.gelu(expected).float(), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("size", [(1, 16), (3, 7, 48), (600, 64)])
def test_token_norms_equal_the_definition(size, processor):
    x, norm = 2 + 3 * torch.randn(size), nn.LayerNorm(size[-1], eps=1e-6).requires_grad_(False)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    with FlopCounterMode(display=False):  # where PyTorch's is asked for
        expected = norm_tokens(norm, x)
    out = norm_tokens(norm, x)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=5e-6)
    exact = F.layer_norm(x.double(), size[-1:], norm.weight.double(), norm.bias.double(), norm.eps)
    torch.testing.assert_close(out, exact.float(), rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(norm_tokens(norm, x, activate=True), F.gelu(exact).float(), rtol=1e-5, atol=2e-6)
    assert torch.equal(norm_tokens(norm, x.mT.contiguous().mT), out)


@pytest.mark.parametrize("shape", SHAPES)
def test_separate_tensors_are_computed_by_pytorch(shape):
    x, key_value, keys = inputs(*shape)
    bias = torch.randn(1, HEADS, x.shape[1], keys)
    given = x.chunk(3, -1) if key_value is None else [x, *key_value.chunk(2, -1)]
    assert not is_supported(given, HEADS)
    expected, value = weights(x, key_value, bias)
    torch.testing.assert_close(attend(given, HEADS, pad_bias(bias)), tokens(expected @ value), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("count", "filled"), [(1, 4), (60, 64), (147, 148), (148, 148), (150, 152)])
def test_padded_keys_do_not_change_results(count, filled):
    _, key_value, _ = inputs(2, 9, count, 16)
    query = torch.randn(2, 9, key_value.shape[-1] // 2)
    more = pad_keys(key_value)
    bias = padding_bias(more, count)
    assert (bias is None) == (count == filled)
    assert more.shape[1] == filled
    expected = attend([query, key_value], HEADS)
    torch.testing.assert_close(attend([query, more], HEADS, bias), expected)
    torch.testing.assert_close(attend([query, *more.chunk(2, -1)], HEADS, bias), expected)


@pytest.mark.parametrize("factor", [1.0, 300.0])
def test_unfused_softmax_is_equal(factor):
    x, key_value, _ = inputs(2, 9, 20, 16, factor=factor)
    given = [x.double(), *key_value.double().chunk(2, -1)]
    torch.testing.assert_close(attend_and_measure_unfused(given, HEADS), attend_and_measure(given, HEADS))


def test_large_scores_and_nan():
    x, key_value, _ = inputs(2, 9, 20, 16, factor=300.0)
    expected, value = weights(x, key_value)
    torch.testing.assert_close(attend([x, key_value], HEADS), tokens(expected @ value), rtol=1e-3, atol=1e-2)
    x[0, 3] = float("nan")
    is_nan = attend([x, key_value], HEADS).isnan()
    assert is_nan[0, 3].all()
    assert is_nan.sum() == is_nan[0, 3].sum()


def test_operators_pass_opcheck():
    x, key_value, _ = inputs(2, 9, 20, 16)
    bias = pad_bias(torch.randn(1, HEADS, 9, 20))
    image = torch.randn(1, 32, 4, 5).to(memory_format=torch.channels_last)
    with torch.inference_mode(False):
        x, key_value, bias, image = (one.clone() for one in (x, key_value, bias, image))
        ops = torch.ops.msgformer
        torch.library.opcheck(ops.native_attention.default, (x, key_value, HEADS, bias))
        torch.library.opcheck(ops.native_attention_received.default, (x, key_value, HEADS))
        torch.library.opcheck(ops.native_norm_gelu_.default, (image, torch.ones(32), torch.zeros(32), 1e-5, True))


class Attention(nn.Module):
    def forward(self, x):
        return attend([2 * x], HEADS) + 1


def test_compiled_graphs_call_them_and_exported_ones_do_not():
    graphs = []

    def keep(graph, _):
        graphs.append(graph.code)
        return graph

    x, _, _ = inputs(2, 9, None, 16)
    out = torch.compile(Attention(), backend=keep, fullgraph=True)(x)
    torch.testing.assert_close(out, Attention()(x))
    assert "native_attention" in graphs[0]
    with torch.inference_mode(False):
        assert "native" not in torch.export.export(Attention(), (x.clone(),)).graph_module.code


def test_unsupported_inputs_are_computed_by_pytorch():
    x, _, _ = inputs(2, 9, None, 16)
    assert is_supported([x], HEADS)
    assert not is_supported([x.double()], HEADS)
    assert not is_supported([x.half()], HEADS)
    assert not is_supported([x], 4)  # of 8 channels each
    assert not is_supported([x.mT.contiguous().mT], HEADS)
    assert not is_supported([x.repeat(1, 100, 1)], HEADS)
    assert not is_supported([x, x], HEADS)  # not twice the channels
    with FlopCounterMode(display=False):  # which knows PyTorch's operators
        assert not is_supported([x], HEADS)
    with torch.inference_mode(False), torch.enable_grad():
        learned = x.clone().requires_grad_()
        attend([learned], HEADS).sum().backward()
    assert learned.grad.abs().sum() > 0

"""C++ attention for training: results, gradients, and selection."""

import shutil

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from msgformer import create_model
from msgformer.kernels.cpu import attention as native_attention
from msgformer.kernels.cpu.attention import WindowAttention, is_supported
from msgformer.models import attention
from msgformer.models.attention import packed_attention

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")

SHAPES = [(3, 50, 2, 32), (1, 1, 1, 16), (70, 17, 3, 16), (2, 145, 2, 48), (5, 64, 80, 16)]


def draw(shape: tuple[int, int, int, int] = (3, 50, 2, 32), dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Queries, keys, values and bias of windows, tokens, heads and channels."""
    torch.manual_seed(0)
    windows, tokens, heads, channels = shape
    made = torch.randn(windows, tokens, 3, heads, channels), 3 * torch.randn(1, heads, tokens, tokens)
    return [one.to(dtype).requires_grad_() for one in made]


def exact(inputs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Inputs and attention in float64."""
    qkv, bias = doubles = [one.detach().double().requires_grad_() for one in inputs]
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    scores = query @ key.mT / query.shape[-1] ** 0.5 + bias
    return doubles, (scores.softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_attention_and_gradients_equal_the_definition(shape, processor):
    inputs = draw(shape)
    assert is_supported(*inputs)
    doubles, expected = exact(inputs)
    out, (windows, tokens, heads, channels) = WindowAttention.apply(*inputs), shape
    assert_close(out, expected.float(), rtol=1e-5, atol=2e-5)
    grad = torch.randn(windows, heads, tokens, channels).transpose(1, 2)  # as it may come
    found, wanted = torch.autograd.grad(out, inputs, grad), torch.autograd.grad(expected, doubles, grad.double())
    for one, two in zip(found, wanted, strict=True):
        assert_close(one, two.float(), rtol=1e-4, atol=3e-5 * two.abs().max().item())


def test_second_order_gradients():
    inputs = draw((2, 5, 1, 16))
    doubles, expected = exact(inputs)

    def penalty(out: Tensor, given: list[Tensor]) -> tuple[Tensor, ...]:
        grads = torch.autograd.grad(out.square().sum(), given, create_graph=True)
        return torch.autograd.grad(sum(grad.square().sum() for grad in grads), given)

    found, wanted = penalty(WindowAttention.apply(*inputs), inputs), penalty(expected, doubles)
    for one, two in zip(found, wanted, strict=True):
        assert_close(one, two.float(), rtol=1e-3, atol=1e-4 * two.abs().max().item())


def calls(inputs: list[Tensor], *args, **kwargs) -> bool:
    """Whether attention was the kernels'."""
    return "WindowAttention" in type(packed_attention(*inputs, *args, **kwargs).grad_fn.next_functions[0][0]).__name__


def test_kernel_is_used_where_supported(monkeypatch):
    assert calls(draw())
    assert not calls(draw(), 0.1)
    assert not calls(draw(), num_queries=1)
    assert not calls(draw(dtype=torch.float64))
    assert not calls(draw((1, 5, 1, 8)))
    qkv, bias = draw()
    assert not calls([qkv, bias.detach()])  # PyTorch's own is fused
    assert not calls([qkv.detach(), bias])
    assert not calls([qkv.transpose(0, 1).contiguous().transpose(0, 1), bias])
    with FlopCounterMode(display=False) as counter:
        assert not calls([qkv, bias])
    assert counter.get_total_flops() > 0
    monkeypatch.setattr(native_attention, "is_loaded", lambda: False)
    assert not calls(draw())


def test_transforms_use_pytorch():
    qkv, bias = draw()

    def loss(one: Tensor, added: Tensor) -> Tensor:
        return packed_attention(one.unsqueeze(0), added).square().sum()

    grads, bias_grads = torch.func.vmap(torch.func.grad(loss, (0, 1)), (0, None))(qkv, bias)
    wanted, bias_wanted = torch.autograd.grad(packed_attention(qkv, bias).square().sum(), [qkv, bias])
    assert_close(grads, wanted, rtol=1e-4, atol=1e-5)
    assert_close(bias_grads.sum(0), bias_wanted, rtol=1e-4, atol=1e-5)


def test_training_is_equal_without_kernels(monkeypatch):
    torch.manual_seed(0)
    sizes = dict(embed_dim=32, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8), num_classes=5, drop_path_rate=0.0)
    model, images = create_model("msg_transformer_tiny", **sizes).train(), torch.randn(2, 3, 100, 120)

    def step() -> list[Tensor]:
        return list(torch.autograd.grad(model(images).square().sum(), list(model.parameters())))

    found = step()
    monkeypatch.setattr(attention.cpu_attention, "is_supported", lambda *_: False)
    for one, two in zip(found, step(), strict=True):  # theta_1's is nothing but rounding
        assert_close(one, two, rtol=1e-4, atol=1e-5 * max(1e-3, two.abs().max().item()))

"""Results of the Triton kernel on a CPU; test_triton_attention.py runs it in Triton's interpreter."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from msgformer.kernels import triton_attention as window_kernel
from msgformer.models import attention
from msgformer.models.attention import biased_attention, packed_attention

attend = torch.ops.msgformer.window_attention


def expect(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """[W, N, heads, d], by the formula."""
    scores = query @ key.mT / query.shape[-1] ** 0.5 + bias
    return (scores.softmax(-1) @ value).transpose(1, 2)


def draw(windows: int, heads: int, rows: int, cols: int, channels: int = 16) -> list[Tensor]:
    """Queries, keys, values, bias, and the gradient of what comes out."""
    torch.manual_seed(0)
    parts = [torch.randn(windows, n, heads, channels, dtype=torch.float64).transpose(1, 2) for n in (rows, cols, cols)]
    bias = torch.randn(1, heads, cols, rows, dtype=torch.float64).mT  # not contiguous
    return [*parts, bias, torch.randn(windows, rows, heads, channels, dtype=torch.float64)]


def outcome(out: Tensor, leaves: list[Tensor], grad: Tensor) -> list[Tensor]:
    return [out.detach(), *torch.autograd.grad(out, leaves, grad.to(out.dtype))]


@pytest.fixture
def kernel_on_cpu(monkeypatch) -> Iterator[None]:
    """All that decides for the kernel says yes, as on a GPU."""
    monkeypatch.setattr(attention, "_KERNEL_DEVICE", "cpu")
    monkeypatch.setattr(window_kernel, "capability", lambda _: window_kernel.MIN_CAPABILITY)
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("windows", "heads", "rows", "cols", "channels"),
    [(5, 2, 50, 50, 32), (3, 1, 17, 17, 16), (2, 3, 49, 50, 16), (2, 1, 1, 64, 32)],
)
def test_numbers_and_gradients(windows, heads, rows, cols, channels, dtype, packed, monkeypatch):
    if packed and rows != cols:
        pytest.skip("packed queries and keys are as many")
    monkeypatch.setattr(window_kernel, "MAX_PROGRAMS", 2 * heads)  # 5 and 3 windows are no multiples of 2 programs
    *parts, bias, grad = (one.to(dtype).double() for one in draw(windows, heads, rows, cols, channels))
    leaves = [one.clone().requires_grad_() for one in (*parts, bias)]
    expected = outcome(expect(*leaves), leaves, grad)
    bias = bias.to(dtype).mT.contiguous().mT.requires_grad_()
    if packed:
        together = torch.stack([one.transpose(1, 2) for one in parts], 2).to(dtype).requires_grad_()
        out, grad_qkv, bias_grad = outcome(attend([together], bias), [together, bias], grad)
        assert grad_qkv.is_contiguous()
        found = [out, *grad_qkv.permute(2, 0, 3, 1, 4), bias_grad]
    else:
        parts = [one.to(dtype).requires_grad_() for one in parts]
        found = outcome(attend(parts, bias), [*parts, bias], grad)
    assert found[0].is_contiguous()
    assert {one.dtype for one in found} == {dtype}
    close = 1e-5 if dtype == torch.float32 else 0.03  # the interpreter cuts off where a GPU rounds
    assert_close([one.double() for one in found], expected, rtol=close, atol=close)


def test_any_strides():
    *parts, bias, _ = (one.float() for one in draw(3, 2, 20, 20))
    every_other = [one.repeat_interleave(2, -1)[..., ::2].requires_grad_() for one in parts]
    shared = bias[:, :1, :1].expand(1, 2, 20, 20)
    out = attend(every_other, shared)
    assert_close(out, expect(*parts, shared))
    alike = torch.autograd.grad(expect(*every_other, shared).sum(), every_other)
    assert_close(torch.autograd.grad(out.sum(), every_other), alike)  # of a sum, with strides of 0


def test_a_bias_keeps_its_precision_under_autocast():
    *parts, bias, _ = (one.float() for one in draw(2, 1, 16, 16))
    linear = torch.nn.Linear(16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        half = [linear(one) for one in parts]
        out = attend(half, bias.requires_grad_())
    assert {one.dtype for one in (*half, out)} == {torch.bfloat16}
    (grad,) = torch.autograd.grad(out.float().square().sum(), bias)
    exact = bias.detach().double().requires_grad_()
    wanted = expect(*(one.detach().double() for one in half), exact)
    assert_close(out.double(), wanted, rtol=0.02, atol=0.02)
    assert grad.dtype == torch.float32
    assert_close(grad.double(), torch.autograd.grad(wanted.square().sum(), exact)[0], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("packed", [False, True])
def test_operators_pass_opcheck(packed):
    *parts, bias, grad = (one.float() for one in draw(2, 1, 16, 16))
    heads = [torch.stack([one.transpose(1, 2) for one in parts], 2)] if packed else parts
    back = torch.ops.msgformer.window_attention_backward.default
    torch.library.opcheck(back, (grad, heads, bias))
    torch.library.opcheck(attend.default, ([one.requires_grad_() for one in heads], bias.requires_grad_()))


def test_compiled_without_breaks(kernel_on_cpu):
    *parts, bias, grad = (one.float() for one in draw(3, 2, 18, 18))
    qkv = torch.stack([one.transpose(1, 2) for one in parts], 2).requires_grad_()
    bias = bias.contiguous().requires_grad_()

    def both(qkv: Tensor, bias: Tensor) -> Tensor:
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        apart = biased_attention(query[:, :, 1:], key, value, bias[:, :, 1:])
        return packed_attention(qkv, bias)[:, 1:] * apart.transpose(1, 2).flatten(2)

    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    compiled = torch.compile(both, fullgraph=True, backend=backend)
    expected = expect(*parts, bias)[:, 1:].flatten(2).square()
    assert_close(compiled(qkv, bias), expected)
    called = [node for graph in graphs for node in graph.graph.nodes if "window_attention" in str(node.target)]
    assert len(called) == 2
    grad = grad[:, 1:].flatten(2)
    found = torch.autograd.grad(both(qkv, bias), (qkv, bias), grad)
    with attention.plain_attention():
        assert_close(found, torch.autograd.grad(both(qkv, bias), (qkv, bias), grad))


def test_once_only():
    *parts, bias, _ = (one.float() for one in draw(1, 1, 16, 16))
    out = attend(parts, bias.requires_grad_())
    (grad,) = torch.autograd.grad(out.square().sum(), bias, create_graph=True)
    with pytest.raises(RuntimeError, match=r"window_attention_backward.* no autograd formula"):
        grad.sum().backward()

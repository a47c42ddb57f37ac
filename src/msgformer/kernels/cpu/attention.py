"""Window attention on CPUs, forward and backward by C++ kernels; used in training, where the bias is learned."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

from msgformer.kernels.cpu.library import CHANNELS, call, integers, is_loaded
from msgformer.kernels.graph_capture import is_recorded

MAX_KEYS = 512
"""Largest number of keys: beyond it the weights of a head exceed the L1 and L2 caches, and PyTorch is faster."""

CHUNK = 256
"""Queries that a thread processes at a time."""

PADDING_BIAS = -1e30
"""Bias of columns beyond the last key; equals NO_KEY of the C++ kernel."""

PARTS = 64
"""Number of partial sums in the backward pass; independent of the number of threads, so that results are equal."""


def is_supported(qkv: Tensor, bias: Tensor) -> bool:
    """Whether the kernels can compute this attention here and now.

    Args:
        qkv: Queries, keys and values, [W, N, 3, heads, d].
        bias: Position bias [1, heads, N, N].
    """
    windows, tokens, _, heads, channels = qkv.shape
    fits = channels % CHANNELS == 0 and tokens <= MAX_KEYS and bias.shape == (1, heads, tokens, tokens)
    floats = all(one.device.type == "cpu" and one.dtype == torch.float32 for one in (qkv, bias))
    free = not is_recorded()  # the kernel is not an operator, so a graph can't contain it
    return fits and floats and windows > 0 and qkv.is_contiguous() and free and is_loaded()


def pad_bias(bias: Tensor) -> Tensor:
    """Pad the columns of a bias [1, heads, N, M] to whole vectors, [1, heads, N, M']."""
    return F.pad(bias, (0, -bias.shape[-1] % CHANNELS), value=PADDING_BIAS)


def attend_by_operators(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: float = 0.0) -> Tensor:
    """Compute `msgformer.models.attention.biased_attention` by PyTorch's operators.

    Args:
        query: Queries [..., heads, N, d].
        key: Keys [..., heads, M, d].
        value: Values [..., heads, M, d].
        bias: Position bias [1, heads, N, M].
        dropout: Dropout rate of the attention weights.

    Returns:
        Updated heads [..., heads, N, d].
    """
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1) + bias
    return F.dropout(scores.softmax(-1), dropout) @ value


class WindowAttention(torch.autograd.Function):
    """Differentiable softmax(Q K^T / sqrt(d) + B) V (eq. 5 of the MSG-Transformer paper); see `is_supported`."""

    @staticmethod
    def forward(qkv: Tensor, bias: Tensor) -> Tensor:
        """Attend by the kernel for inference.

        Args:
            qkv: Queries, keys and values, [W, N, 3, heads, d].
            bias: Position bias [1, heads, N, N].

        Returns:
            Tokens by head, [W, N, heads, d].
        """
        windows, tokens, _, heads, channels = qkv.shape
        query, key, value = qkv.unbind(2)
        columns = pad_bias(bias)
        steps = integers(qkv.stride(0), qkv.stride(3), qkv.stride(1))
        call(
            "attention", out := torch.empty_like(query, memory_format=torch.contiguous_format), None, query, key, value,
            columns, windows, heads, tokens, tokens, channels, CHUNK, steps, steps, steps,
            integers(columns.stride(1), columns.stride(2)), channels**-0.5,
        )  # fmt: skip
        return out

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG004
        """Save queries, keys, values and bias; attention weights are recomputed.

        Args:
            ctx: Context of the function.
            inputs: Queries, keys and values [W, N, 3, heads, d], and bias [1, heads, N, N].
            output: Not used, [W, N, heads, d].
        """
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Compute both gradients; PyTorch's operators compute those that need gradients themselves.

        Args:
            ctx: Context of the function.
            grad: Gradient of the output, [W, N, heads, d].

        Returns:
            Gradients of qkv [W, N, 3, heads, d] and of the bias [1, heads, N, N].
        """
        qkv, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            out = attend_by_operators(query, key, value, bias).transpose(1, 2)
            return torch.autograd.grad(out, (qkv, bias), grad, create_graph=True)  # type: ignore[return-value]
        windows, tokens, _, heads, channels = qkv.shape
        parts = max(1, min(windows, PARTS // heads))
        columns, grads = pad_bias(bias), torch.empty_like(qkv)
        bias_grads = qkv.new_empty(parts, heads, tokens, tokens)
        call(
            "attention_backward", grads, bias_grads, grad.contiguous(), qkv, columns,
            windows, heads, tokens, channels, parts,
            integers(columns.stride(1), columns.stride(2)), channels**-0.5,
        )  # fmt: skip
        return grads, bias_grads.sum(0, keepdim=True)

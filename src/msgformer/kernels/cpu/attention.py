"""Attention inside windows on CPUs, forward and backward by the C++ kernels: for training, where bias is learned."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

from msgformer.kernels.cpu.library import CHANNELS, call, integers, is_loaded
from msgformer.kernels.index_cache import is_recorded

MAX_KEYS = 512
"""With more keys a head's weights leave the nearest caches; PyTorch's kernel, which takes them in parts, is ahead."""

CHUNK = 256
"""Queries that a thread takes at a time."""

PADDING_BIAS = -1e30
"""Bias of columns beyond the last key; the C++ kernel adds the same where there is no bias."""

PARTS = 64
"""So many parts of heads and windows are differentiated side by side: not as many as threads, for equal sums."""


def is_supported(qkv: Tensor, bias: Tensor) -> bool:
    """Whether the kernels compute this attention, here and now.

    Args:
        qkv: Queries, keys and values, [W, N, 3, heads, d].
        bias: [1, heads, N, N].
    """
    windows, tokens, _, heads, channels = qkv.shape
    fits = channels % CHANNELS == 0 and tokens <= MAX_KEYS and bias.shape == (1, heads, tokens, tokens)
    floats = all(one.device.type == "cpu" and one.dtype == torch.float32 for one in (qkv, bias))
    free = not is_recorded()  # this is no operator, of which a graph could be made
    return fits and floats and windows > 0 and qkv.is_contiguous() and free and is_loaded()


def padded(bias: Tensor) -> Tensor:
    """Bias [1, heads, N, M] with columns for keys that there aren't, so that rows are made of whole vectors."""
    return F.pad(bias, (0, -bias.shape[-1] % CHANNELS), value=PADDING_BIAS)


def attend_by_operators(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: float = 0.0) -> Tensor:
    """`msgformer.models.attention.biased_attention` by PyTorch's operators, one after the other."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1) + bias
    return F.dropout(scores.softmax(-1), dropout) @ value


class WindowAttention(torch.autograd.Function):
    """softmax(Q K^T / sqrt(d) + B) V of the arguments of `serves`, as [W, N, heads, d]."""

    @staticmethod
    def forward(qkv: Tensor, bias: Tensor) -> Tensor:
        """By the kernel that inference has."""
        windows, tokens, _, heads, channels = qkv.shape
        query, key, value = qkv.unbind(2)
        columns = padded(bias)
        steps = integers(qkv.stride(0), qkv.stride(3), qkv.stride(1))
        call(
            "attention", out := torch.empty_like(query, memory_format=torch.contiguous_format), None, query, key, value,
            columns, windows, heads, tokens, tokens, channels, CHUNK, steps, steps, steps,
            integers(columns.stride(1), columns.stride(2)), channels**-0.5,
        )  # fmt: skip
        return out

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG004
        """Queries, keys, values and bias are kept, and no weights."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of both; those that are to be differentiated themselves are PyTorch's."""
        qkv, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            out = attend_by_operators(query, key, value, bias).transpose(1, 2)
            return torch.autograd.grad(out, (qkv, bias), grad, create_graph=True)  # type: ignore[return-value]
        windows, tokens, _, heads, channels = qkv.shape
        parts = max(1, min(windows, PARTS // heads))
        columns, grads = padded(bias), torch.empty_like(qkv)
        bias_grads = qkv.new_empty(parts, heads, tokens, tokens)
        call(
            "attention_backward", grads, bias_grads, grad.contiguous(), qkv, columns,
            windows, heads, tokens, channels, parts,
            integers(columns.stride(1), columns.stride(2)), channels**-0.5,
        )  # fmt: skip
        return grads, bias_grads.sum(0, keepdim=True)

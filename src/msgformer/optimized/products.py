"""Linear layers by C++ kernels on CPUs, with the norm before them and the residual after them in the same call.

And what is more than one layer: both halves of an MSG-Transformer's block, and layers around a depth-wise convolution,
which SG-Former's blocks are made of. They take as many windows or rows at a time as leave what lies between the layers
in the caches. Weights come in panels, as `pack` lays them out. Biases may be absent.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from msgformer.kernels.cpu.attention import CHUNK, MAX_KEYS
from msgformer.kernels.cpu.library import CHANNELS, call, integers, operator

NO_NORM = -1.0
"""Instead of an epsilon: there is no norm before the layer."""


def pack(weight: Tensor) -> Tensor:
    """A linear layer's weight [out, in], both multiples of 16, to panels for this processor, [out * in]."""
    panels = weight.new_empty(weight.numel())
    call("pack", panels, weight.contiguous(), *weight.shape)
    return panels


def is_window_supported(x: Tensor, num_heads: int) -> bool:
    """Whether `window_attention` computes windows [W, N, C] of so many heads; layers are asked for by themselves."""
    return x.shape[1] <= MAX_KEYS and x.shape[2] % (num_heads * CHANNELS) == 0


def _like_x(x: Tensor, *_: object) -> Tensor:
    return x.new_empty(x.shape)


def _like_residual(*arguments: Any) -> Tensor:
    residual: Tensor = arguments[8]
    return residual.new_empty(residual.shape)


def _with_columns(x: Tensor, panels: Tensor, *_: object) -> Tensor:
    return x.new_empty(*x.shape[:-1], panels.numel() // x.shape[-1])


@operator("native_linear", _with_columns)
def linear(x: Tensor, panels: Tensor, bias: Tensor | None, residual: Tensor | None, eps: float, gelu: bool) -> Tensor:
    """A linear layer.

    Args:
        x: [..., in]
        panels: Its weight, by `pack`.
        bias: [out]
        residual: Added to the outcome, [..., out].
        eps: Of a LayerNorm without weights that comes first, or `NO_NORM`.
        gelu: GELU comes last.

    Returns:
        [..., out]
    """
    out = _with_columns(x, panels)
    x, residual = x.contiguous(), None if residual is None else residual.contiguous()
    sizes = out.numel() // out.shape[-1], x.shape[-1], out.shape[-1]
    call("linear", out, x, panels, bias, residual, *sizes, eps, gelu)
    return out


@operator("native_mlp", _like_x)
def mlp(x: Tensor, panels1: Tensor, bias1: Tensor | None, panels2: Tensor, bias2: Tensor | None, eps: float) -> Tensor:
    """An MLP with norm and residual, x + fc2(GELU(fc1(norm(x)))).

    Args:
        x: [..., C]
        panels1: fc1's weight [hidden, C], by `pack`.
        bias1: [hidden]
        panels2: fc2's weight [C, hidden], by `pack`.
        bias2: [C]
        eps: Of the norm, which has no weights.

    Returns:
        [..., C]
    """
    x = x.contiguous()
    channels = x.shape[-1]
    sizes = x.numel() // channels, channels, panels1.numel() // channels
    call("mlp", out := _like_x(x), x, panels1, bias1, panels2, bias2, *sizes, eps)
    return out


@operator("native_window_attention", _like_x)
def window_attention(
    x: Tensor,
    qkv_panels: Tensor,
    qkv_bias: Tensor | None,
    proj_panels: Tensor,
    proj_bias: Tensor | None,
    bias: Tensor,
    num_heads: int,
    eps: float,
) -> Tensor:
    """Attention in windows with norm and residual: x + proj(softmax(Q K^T / sqrt(d) + B) V), Q, K, V = qkv(norm(x)).

    Args:
        x: Windows, [W, N, C].
        qkv_panels: The weight of queries, keys and values [3C, C], by `pack`.
        qkv_bias: [3C]
        proj_panels: The projection's weight [C, C], by `pack`.
        proj_bias: [C]
        bias: B, [1, heads, N, M] as `msgformer.optimized.ops.padded` returns it.
        num_heads: Heads among the C channels, multiples of 16 each.
        eps: Of the norm, which has no weights.

    Returns:
        [W, N, C]
    """
    x = x.contiguous()
    places = x, qkv_panels, qkv_bias, proj_panels, proj_bias, bias
    factor = (x.shape[-1] // num_heads) ** -0.5
    steps = integers(bias.stride(1), bias.stride(2))
    call("window_attention", out := _like_x(x), *places, *x.shape, num_heads, CHUNK, steps, eps, factor)
    return out


@operator("native_conv_between", _like_residual)
def conv_between(
    x: Tensor,
    panels1: Tensor,
    bias1: Tensor | None,
    taps: Tensor,
    tap_bias: Tensor | None,
    panels2: Tensor,
    bias2: Tensor | None,
    added: Tensor | None,
    residual: Tensor,
    eps: float,
    gelu: bool,
) -> Tensor:
    """Two layers around a depth-wise convolution of 3 x 3: residual + fc2(f(added + conv(fc1(norm(x))))).

    Args:
        x: Maps, [B, H, W, in].
        panels1: fc1's weight [C, in], by `pack`.
        bias1: [C]
        taps: The convolution's weight, [9, C].
        tap_bias: [C]
        panels2: fc2's weight [out, C], by `pack`.
        bias2: [out]
        added: [B, H, W, C]
        residual: [B, H, W, out]
        eps: Of the norm, which has no weights, or `NO_NORM`.
        gelu: f is GELU.

    Returns:
        [B, H, W, out]
    """
    x, residual, added = x.contiguous(), residual.contiguous(), None if added is None else added.contiguous()
    layers = panels1, bias1, taps, tap_bias, panels2, bias2
    sizes = *x.shape, taps.shape[1], residual.shape[-1]
    call("conv_between", out := residual.new_empty(residual.shape), x, *layers, added, residual, *sizes, eps, gelu)
    return out

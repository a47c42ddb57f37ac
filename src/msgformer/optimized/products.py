"""Fused linear layers by C++ kernels on CPUs, with the norm before them and the residual after them.

Larger kernels compute both halves of an MSG-Transformer block, and the layers around a depth-wise convolution in
SG-Former's blocks. They process as many windows or rows at a time as keep the intermediate tokens in the caches.
Weights are in panels, see `pack`. Biases may be None.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from msgformer.kernels.cpu.attention import CHUNK, MAX_KEYS
from msgformer.kernels.cpu.library import CHANNELS, call, integers, operator

NO_NORM = -1.0
"""Epsilon that means no norm before the layer."""


def pack(weight: Tensor) -> Tensor:
    """Pack the weight of a linear layer [out, in], both multiples of 16, to panels for this processor, [out * in]."""
    panels = weight.new_empty(weight.numel())
    call("pack", panels, weight.contiguous(), *weight.shape)
    return panels


def is_window_supported(x: Tensor, num_heads: int) -> bool:
    """Return whether `window_attention` supports the window size; `Packed.panels_for` checks the layers.

    Args:
        x: Windows [W, N, C].
        num_heads: Attention heads among the C channels.
    """
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
    """Apply norm, linear layer, residual and activation.

    Args:
        x: Tokens [..., in].
        panels: Weight from `pack`, [out * in].
        bias: Bias [out].
        residual: Added to the output, [..., out].
        eps: Epsilon of a preceding LayerNorm without weights, or `NO_NORM`.
        gelu: Apply GELU at the end.

    Returns:
        Tokens [..., out].
    """
    out = _with_columns(x, panels)
    x, residual = x.contiguous(), None if residual is None else residual.contiguous()
    sizes = out.numel() // out.shape[-1], x.shape[-1], out.shape[-1]
    call("linear", out, x, panels, bias, residual, *sizes, eps, gelu)
    return out


@operator("native_mlp", _like_x)
def mlp(x: Tensor, panels1: Tensor, bias1: Tensor | None, panels2: Tensor, bias2: Tensor | None, eps: float) -> Tensor:
    """Compute an MLP with norm and residual, x + fc2(GELU(fc1(norm(x)))).

    Args:
        x: Tokens [..., C].
        panels1: Weight of fc1 from `pack`, [hidden * C].
        bias1: Bias of fc1, [hidden].
        panels2: Weight of fc2 from `pack`, [C * hidden].
        bias2: Bias of fc2, [C].
        eps: Epsilon of the norm, which has no weights.

    Returns:
        Tokens [..., C].
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
    """Compute window attention with norm and residual: x + proj(softmax(Q K^T / sqrt(d) + B) V).

    Q, K and V are qkv(norm(x)).

    Args:
        x: Windows [W, N, C].
        qkv_panels: Weight of queries, keys and values from `pack`, [3C * C].
        qkv_bias: Bias [3C].
        proj_panels: Weight of the projection from `pack`, [C * C].
        proj_bias: Bias [C].
        bias: Position bias B [1, heads, N, M] from `msgformer.kernels.cpu.attention.pad_bias`.
        num_heads: Attention heads among the C channels; each has a multiple of 16 channels.
        eps: Epsilon of the norm, which has no weights.

    Returns:
        Windows [W, N, C].
    """
    x = x.contiguous()
    tensors = x, qkv_panels, qkv_bias, proj_panels, proj_bias, bias
    scale = (x.shape[-1] // num_heads) ** -0.5
    steps = integers(bias.stride(1), bias.stride(2))
    call("window_attention", out := _like_x(x), *tensors, *x.shape, num_heads, CHUNK, steps, eps, scale)
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
    """Compute two layers around a depth-wise 3 x 3 convolution: residual + fc2(f(added + conv(fc1(norm(x))))).

    Args:
        x: Maps [B, H, W, in].
        panels1: Weight of fc1 from `pack`, [C * in].
        bias1: Bias of fc1, [C].
        taps: Weight of the convolution, [9, C].
        tap_bias: Bias of the convolution, [C].
        panels2: Weight of fc2 from `pack`, [out * C].
        bias2: Bias of fc2, [out].
        added: Maps [B, H, W, C].
        residual: Maps [B, H, W, out].
        eps: Epsilon of the norm, which has no weights, or `NO_NORM`.
        gelu: Whether f is GELU; otherwise f is the identity.

    Returns:
        Maps [B, H, W, out].
    """
    x, residual, added = x.contiguous(), residual.contiguous(), None if added is None else added.contiguous()
    layers = panels1, bias1, taps, tap_bias, panels2, bias2
    sizes = *x.shape, taps.shape[1], residual.shape[-1]
    call("conv_between", out := residual.new_empty(residual.shape), x, *layers, added, residual, *sizes, eps, gelu)
    return out

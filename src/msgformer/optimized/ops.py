"""Attention and normalization of optimized models: C++ kernels on CPUs, PyTorch's operators elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.kernels.cpu.attention import CHUNK, MAX_KEYS, PADDING_BIAS
from msgformer.kernels.cpu.library import CHANNELS, call, integers, is_loaded, is_plain, operator
from msgformer.models import chunked_attention
from msgformer.models.attention import biased_attention, packed_attention
from msgformer.models.chunked_attention import split_heads


def attend(qkv: Sequence[Tensor], num_heads: int, bias: Tensor | None = None) -> Tensor:
    """Compute softmax(Q K^T / sqrt(d) + B) V (eq. 5) on the outputs of linear layers.

    Args:
        qkv: Q, K and V in one tensor [W, N, 3C]; or Q [W, N, C], and K and V in one tensor [W, M, 2C]; or Q [W, N, C],
            K and V [W, M, C] as three tensors.
        num_heads: Attention heads among the C channels.
        bias: Position bias B [1, heads, N, M'] from `pad_bias`, or [1, 1, 1, M] from `padding_bias`; None for no bias.

    Returns:
        Tokens [W, N, C].
    """
    if is_supported(qkv, num_heads, bias):
        return native_attention(*_as_pair(qkv), num_heads, bias)
    if bias is not None:
        bias = bias[..., : qkv[-1].shape[1]]
    if len(qkv) == 1 and bias is not None:
        return packed_attention(qkv[0].unflatten(-1, (3, num_heads, -1)), bias)
    query, key, value = (split_heads(part, num_heads) for part in _split_qkv(qkv))
    if bias is None:
        out = F.scaled_dot_product_attention(query, key, value)
    else:
        out = biased_attention(query, key, value, bias)
    return out.transpose(1, 2).flatten(2)


def attend_and_measure(qkv: Sequence[Tensor], num_heads: int) -> tuple[Tensor, Tensor]:
    """Compute `attend`, and the attention that each key receives, averaged over heads and queries.

    Args:
        qkv: Q [W, N, C], K and V [W, M, C], joined or separate, see `attend`.
        num_heads: Attention heads among the C channels.

    Returns:
        Tokens [W, N, C], and the attention per key [W, M].
    """
    if not is_supported(qkv, num_heads):
        return chunked_attention.attend_and_measure(*_split_qkv(qkv), num_heads)
    out, received = native_attention_received(*_as_pair(qkv), num_heads)
    return out, received.sum((0, 2)) / (num_heads * qkv[0].shape[1])


def attend_and_measure_unfused(qkv: Sequence[Tensor], num_heads: int) -> tuple[Tensor, Tensor]:
    """Compute `attend_and_measure` with the parts of the softmax as separate operators.

    OpenVINO computes exponentials faster than its softmax. Row sums divide the outputs instead of the weights, and the
    attention per key is a matrix product of the inverse sums and the exponentials.

    Args:
        qkv: Q [W, N, C], K and V [W, M, C], joined or separate, see `attend`.
        num_heads: Attention heads among the C channels.

    Returns:
        Tokens [W, N, C], and the attention per key [W, M].
    """
    query, key, value = (split_heads(part, num_heads) for part in _split_qkv(qkv))
    rows, depth = query.shape[2:]
    scores = query @ key.transpose(-2, -1)
    exponentials = ((scores - scores.amax(-1, keepdim=True)) * depth**-0.5).exp()
    shares = exponentials.sum(-1, keepdim=True).reciprocal()  # [W, heads, N, 1]
    received = shares.flatten(1).unsqueeze(1) @ exponentials.flatten(1, 2)  # [W, 1, M]
    out = (exponentials @ value * shares).transpose(1, 2).flatten(2)
    return out, received.squeeze(1) / (num_heads * rows)


def norm_tokens(norm: nn.LayerNorm, x: Tensor, activate: bool = False) -> Tensor:
    """Apply LayerNorm, and optionally GELU; a compiler fuses them with adjacent operators.

    Args:
        norm: The norm.
        x: Tokens [..., C].
        activate: Apply GELU.

    Returns:
        Tokens [..., C].
    """
    is_fusable = norm.weight is not None and norm.bias is not None and x.shape[-1] % CHANNELS == 0 and x.numel() > 0
    if not is_fusable or torch.compiler.is_compiling() or not (is_plain(x) and is_plain(norm.weight) and is_loaded()):
        normed = layer_norm(x, norm.weight, norm.bias, norm.eps)
        return F.gelu(normed) if activate else normed
    x = x.contiguous()
    out = x.new_empty(x.shape)
    call("layer_norm", out, x, norm.weight, norm.bias, x.numel() // x.shape[-1], x.shape[-1], norm.eps, activate)
    return out


def layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Apply LayerNorm by PyTorch.

    Args:
        x: Tokens [..., C].
        weight: Weight [C].
        bias: Bias [C].
        eps: Added to the variance.

    Returns:
        Tokens [..., C].
    """
    return F.layer_norm(_flatten_exported_map(x), x.shape[-1:], weight, bias, eps).view(x.shape)


def add(x: Tensor, other: Tensor) -> Tensor:
    """Add two tensors of tokens.

    Args:
        x: Tokens [..., C].
        other: Tokens [..., C].

    Returns:
        Sum [..., C].
    """
    return (_flatten_exported_map(x) + _flatten_exported_map(other)).view(x.shape)


def _flatten_exported_map(x: Tensor) -> Tensor:
    """Flatten maps [B, H, W, C] to [B, H * W, C] during export; return other tokens unchanged.

    OpenVINO needs more operations for the norm of a map, and transposes maps next to a convolution.
    """
    return x.flatten(1, 2) if x.dim() == 4 and torch.compiler.is_exporting() else x


def norm_gelu(norm: nn.GroupNorm, x: Tensor, activate: bool) -> Tensor:
    """Apply GroupNorm, and optionally GELU, in place where a kernel supports it.

    Args:
        norm: The norm.
        x: Map [B, C, H, W]; it may be overwritten.
        activate: Apply GELU.

    Returns:
        Map [B, C, H, W].
    """
    if is_norm_supported(norm, x):
        native_norm_gelu_(x, norm.weight, norm.bias, norm.eps, activate)
        return x
    if torch.compiler.is_compiling():
        x = norm_by_means(x, norm.weight[:, None, None], norm.bias[:, None, None], norm.eps)
    else:
        x = norm(x)
    return F.gelu(x) if activate else x


def norm_by_means(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Apply GroupNorm with one group by elementary operators.

    Exported files have no operator for it in channels-last layout: they would transpose the map twice.

    Args:
        x: Map [B, ...].
        weight: Weight, broadcastable to [B, ...].
        bias: Bias, broadcastable to [B, ...].
        eps: Added to the variance.

    Returns:
        Map [B, ...].
    """
    axes = tuple(range(1, x.dim()))
    centered = x - x.mean(axes, keepdim=True)
    variance = centered.square().mean(axes, keepdim=True)
    return centered / (variance + eps).sqrt() * weight + bias


def pad_keys(tokens: Tensor) -> Tensor:
    """Pad the tokens of keys and values [B, M, C] with zeros to a length that OpenVINO computes fast, [B, M', C].

    OpenVINO's attention takes longer for 147 keys than for 148, and for 60 than for 64: the remainder of a vector
    should be a quarter or half of one. In a graph for several sizes, where M is unknown, nothing is added.
    """
    count: Any = tokens.shape[1]
    if not isinstance(count, int):
        return tokens
    extra = next(extra for extra in range(CHANNELS) if (count + extra) % CHANNELS in (0, 4, 8))
    return F.pad(tokens, (0, 0, 0, extra))


def padding_bias(keys: Tensor, count: int) -> Tensor | None:
    """Compute a bias that masks the keys added by `pad_keys`.

    Args:
        keys: Padded keys [B, M', C].
        count: Number M of keys before padding.

    Returns:
        Bias [1, 1, 1, M'], or None if no keys were added.
    """
    if keys.shape[1] == count:
        return None
    masked = torch.arange(keys.shape[1], device=keys.device) >= count
    return (PADDING_BIAS * masked.to(keys.dtype)).view(1, 1, 1, -1)


def is_supported(qkv: Sequence[Tensor], num_heads: int, bias: Tensor | None = None) -> bool:
    """Return whether a C++ kernel can compute this attention here and now.

    Args:
        qkv: Q [W, N, C], K and V [W, M, C], joined or separate, see `attend`.
        num_heads: Attention heads among the C channels.
        bias: Position bias [1, heads, N, M'].
    """
    if len(qkv) > 2 or (bias is not None and bias.shape[1] != num_heads):
        return False
    x, key_value = _as_pair(qkv)
    if key_value is not None and (key_value.shape[0], key_value.shape[2]) != (x.shape[0], 2 * x.shape[2]):
        return False
    if qkv[-1].shape[1] > MAX_KEYS or _channels(x, key_value) % (num_heads * CHANNELS):
        return False
    return all(is_plain(one) and one.stride(-1) == 1 for one in qkv) and is_loaded()


def is_norm_supported(norm: nn.GroupNorm, x: Tensor) -> bool:
    """Return whether a C++ kernel can compute this norm here and now.

    Args:
        norm: The norm.
        x: Map [B, C, H, W].
    """
    if norm.num_groups != 1 or x.shape[1] % CHANNELS or norm.weight is None:
        return False
    return is_plain(x) and x.is_contiguous(memory_format=torch.channels_last) and is_loaded()


def _channels(x: Tensor, key_value: Tensor | None) -> int:
    """Return the number of channels C, see `attend`."""
    return x.shape[-1] // 3 if key_value is None else x.shape[-1]


def _as_pair(qkv: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return the tensors of `attend` as kernels expect them: one or two tensors."""
    return (qkv[0], qkv[1]) if len(qkv) == 2 else (qkv[0], None)


def _split_qkv(qkv: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return Q [W, N, C], K and V [W, M, C], see `attend`."""
    *first, last = qkv
    query, key, value = qkv if len(qkv) == 3 else (*first, *last.chunk(4 - len(qkv), dim=-1))
    return query, key, value


def _empty_output(x: Tensor, key_value: Tensor | None, *_: object) -> Tensor:
    return x.new_empty(*x.shape[:-1], _channels(x, key_value))


def _empty_received(x: Tensor, key_value: Tensor | None, num_heads: int) -> Tensor:
    windows, rows, _ = x.shape
    keys = rows if key_value is None else key_value.shape[1]
    return x.new_empty((rows + CHUNK - 1) // CHUNK, windows, num_heads, keys)


def _run_attention(
    out: Tensor, received: Tensor | None, x: Tensor, key_value: Tensor | None, num_heads: int, bias: Tensor | None
) -> None:
    query, key, value = _split_qkv([x] if key_value is None else [x, key_value])
    windows, rows, channels = query.shape
    depth = channels // num_heads
    call(
        "attention", out, received, query, key, value, bias,
        windows, num_heads, rows, key.shape[1], depth, CHUNK,
        *(integers(t.stride(0), depth, t.stride(1)) for t in (query, key, value)),
        None if bias is None else integers(bias.stride(1), bias.stride(2)),
        depth**-0.5,
    )  # fmt: skip


def _empty_pair(x: Tensor, key_value: Tensor | None, num_heads: int) -> tuple[Tensor, Tensor]:
    return _empty_output(x, key_value), _empty_received(x, key_value, num_heads)


@operator("native_attention", _empty_output)
def native_attention(x: Tensor, key_value: Tensor | None, num_heads: int, bias: Tensor | None) -> Tensor:
    """Compute `attend` by the C++ kernel.

    Args:
        x: Q, K and V [W, N, 3C], or Q [W, N, C].
        key_value: K and V [W, M, 2C]; None if ``x`` contains them.
        num_heads: Attention heads among the C channels.
        bias: Position bias [1, heads, N, M'].

    Returns:
        Tokens [W, N, C].
    """
    out = _empty_output(x, key_value)
    _run_attention(out, None, x, key_value, num_heads, bias)
    return out


@operator("native_attention_received", _empty_pair)
def native_attention_received(x: Tensor, key_value: Tensor | None, num_heads: int) -> tuple[Tensor, Tensor]:
    """Compute `attend` by the C++ kernel, and the attention that keys receive.

    Args:
        x: Q, K and V [W, N, 3C], or Q [W, N, C].
        key_value: K and V [W, M, 2C]; None if ``x`` contains them.
        num_heads: Attention heads among the C channels.

    Returns:
        Tokens [W, N, C], and the attention per key, summed over chunks of queries, [chunks, W, heads, M].
    """
    out, received = _empty_pair(x, key_value, num_heads)
    _run_attention(out, received, x, key_value, num_heads, None)
    return out, received


def _nothing(*_: object) -> None:
    """Fake result of an operator that changes its argument in place."""


@operator("native_norm_gelu_", _nothing, mutates_args=("x",))
def native_norm_gelu_(x: Tensor, weight: Tensor, bias: Tensor, eps: float, activate: bool) -> None:
    """Compute `norm_gelu` by the C++ kernel, in place.

    Args:
        x: Channels-last map [B, C, H, W]; it is overwritten.
        weight: Weight [C].
        bias: Bias [C].
        eps: Added to the variance.
        activate: Apply GELU.
    """
    batch, channels, height, width = x.shape
    call("norm_gelu", x, weight, bias, batch, height * width, channels, eps, activate)

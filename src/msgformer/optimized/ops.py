"""Attention and normalisation of optimised models: on CPUs by C++ kernels, or else by PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.kernels.cpu.attention import CHUNK, MAX_KEYS, PADDING_BIAS
from msgformer.kernels.cpu.library import CHANNELS, call, integers, is_loaded, is_plain, operator
from msgformer.models import sg_former
from msgformer.models.attention import biased_attention, packed_attention
from msgformer.models.sg_former import split_heads


def attend(given: Sequence[Tensor], num_heads: int, bias: Tensor | None = None) -> Tensor:
    """softmax(Q K^T / sqrt(d) + B) V of what linear layers leave, for the next one to read.

    Args:
        given: Q, K and V side by side, one tensor [W, N, 3C]; or Q, [W, N, C], and K and V side by side, [W, M, 2C];
            or each by itself.
        num_heads: Heads among the C channels.
        bias: B, [1, heads, N, M'] as `padded` returns it, or [1, 1, 1, M] as `hide` does, if there is one.

    Returns:
        [W, N, C]
    """
    if is_supported(given, num_heads, bias):
        return native_attention(*_joined(given), num_heads, bias)
    if bias is not None:
        bias = bias[..., : given[-1].shape[1]]
    if len(given) == 1 and bias is not None:
        return packed_attention(given[0].unflatten(-1, (3, num_heads, -1)), bias)
    query, key, value = (split_heads(part, num_heads) for part in _apart(given))
    if bias is None:
        out = F.scaled_dot_product_attention(query, key, value)
    else:
        out = biased_attention(query, key, value, bias)
    return out.transpose(1, 2).flatten(2)


def attend_and_measure(given: Sequence[Tensor], num_heads: int) -> tuple[Tensor, Tensor]:
    """`attend`, and what each key receives, averaged over heads and queries.

    Args:
        given: See `attend`.
        num_heads: Heads among the C channels.

    Returns:
        [W, N, C] and [W, M]
    """
    if not is_supported(given, num_heads):
        return sg_former.attend_and_measure(*_apart(given), num_heads)
    out, received = native_attention_received(*_joined(given), num_heads)
    return out, received.sum((0, 2)) / (num_heads * given[0].shape[1])


def attend_and_measure_unfused(given: Sequence[Tensor], num_heads: int) -> tuple[Tensor, Tensor]:
    """`attend_and_measure` with softmax taken apart.

    For OpenVINO, which computes exponentials faster than its softmax: sums of each row divide outcomes instead of
    weights, and what keys receive is a product of these sums and the exponentials.
    """
    query, key, value = (split_heads(part, num_heads) for part in _apart(given))
    rows, depth = query.shape[2:]
    scores = query @ key.transpose(-2, -1)
    exponentials = ((scores - scores.amax(-1, keepdim=True)) * depth**-0.5).exp()
    shares = exponentials.sum(-1, keepdim=True).reciprocal()  # [W, heads, N, 1]
    received = shares.flatten(1).unsqueeze(1) @ exponentials.flatten(1, 2)  # [W, 1, M]
    out = (exponentials @ value * shares).transpose(1, 2).flatten(2)
    return out, received.squeeze(1) / (num_heads * rows)


def norm_tokens(norm: nn.LayerNorm, x: Tensor, activate: bool = False) -> Tensor:
    """LayerNorm of tokens [..., C], then GELU if it is wanted; a compiler puts it together with its neighbours."""
    served = norm.weight is not None and norm.bias is not None and x.shape[-1] % CHANNELS == 0 and x.numel() > 0
    if not served or torch.compiler.is_compiling() or not (is_plain(x) and is_plain(norm.weight) and is_loaded()):
        normed = layer_norm(x, norm.weight, norm.bias, norm.eps)
        return F.gelu(normed) if activate else normed
    x = x.contiguous()
    out = x.new_empty(x.shape)
    call("layer_norm", out, x, norm.weight, norm.bias, x.numel() // x.shape[-1], x.shape[-1], norm.eps, activate)
    return out


def layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """LayerNorm of tokens [..., C] by PyTorch."""
    return F.layer_norm(_side_by_side(x), x.shape[-1:], weight, bias, eps).view(x.shape)


def add(x: Tensor, other: Tensor) -> Tensor:
    """Sum of tokens [..., C]."""
    return (_side_by_side(x) + _side_by_side(other)).view(x.shape)


def _side_by_side(x: Tensor) -> Tensor:
    """Tokens [..., C]; those of a map that is to be exported become [B, H * W, C].

    For a norm of a map OpenVINO takes more operations, and next to a convolution it turns maps around.
    """
    return x.flatten(1, 2) if x.dim() == 4 and torch.compiler.is_exporting() else x


def norm_gelu(norm: nn.GroupNorm, x: Tensor, activate: bool) -> Tensor:
    """GroupNorm, then GELU if it is wanted: [B, C, H, W] to the same, in the place of x, which nobody else may read."""
    if is_norm_supported(norm, x):
        native_norm_gelu_(x, norm.weight, norm.bias, norm.eps, activate)
        return x
    if torch.compiler.is_compiling():
        x = norm_by_means(x, norm.weight[:, None, None], norm.bias[:, None, None], norm.eps)
    else:
        x = norm(x)
    return F.gelu(x) if activate else x


def norm_by_means(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """GroupNorm of one group, [B, ...] to the same.

    Exported files have no operator for it that takes channels last: they would turn the map around and back.
    """
    every = tuple(range(1, x.dim()))
    centred = x - x.mean(every, keepdim=True)
    variance = centred.square().mean(every, keepdim=True)
    return centred / (variance + eps).sqrt() * weight + bias


def pad_keys(tokens: Tensor) -> Tensor:
    """What keys and values are made of, [B, M, C], with zeros behind it, [B, M', C].

    For OpenVINO, whose attention takes 147 keys longer than 148, and 60 longer than 64: it is slow with what is left of
    a vector unless that is a quarter or half of one. In a graph for many sizes, where M isn't known, nothing is added.
    """
    count: Any = tokens.shape[1]
    if not isinstance(count, int):
        return tokens
    more = next(more for more in range(CHANNELS) if (count + more) % CHANNELS in (0, 4, 8))
    return F.pad(tokens, (0, 0, 0, more))


def hide(keys: Tensor, count: int) -> Tensor | None:
    """Bias [1, 1, 1, M'] that leaves the first keys alone, of [B, M', C]; None if that is all of them."""
    if keys.shape[1] == count:
        return None
    hidden = torch.arange(keys.shape[1], device=keys.device) >= count
    return (PADDING_BIAS * hidden.to(keys.dtype)).view(1, 1, 1, -1)


def is_supported(given: Sequence[Tensor], num_heads: int, bias: Tensor | None = None) -> bool:
    """Whether a C++ kernel computes this attention, here and now; for the arguments see `attend`."""
    if len(given) > 2 or (bias is not None and bias.shape[1] != num_heads):
        return False
    x, key_value = _joined(given)
    if key_value is not None and (key_value.shape[0], key_value.shape[2]) != (x.shape[0], 2 * x.shape[2]):
        return False
    if given[-1].shape[1] > MAX_KEYS or _channels(x, key_value) % (num_heads * CHANNELS):
        return False
    return all(is_plain(one) and one.stride(-1) == 1 for one in given) and is_loaded()


def is_norm_supported(norm: nn.GroupNorm, x: Tensor) -> bool:
    """Whether a C++ kernel computes this norm of [B, C, H, W], here and now."""
    if norm.num_groups != 1 or x.shape[1] % CHANNELS or norm.weight is None:
        return False
    return is_plain(x) and x.is_contiguous(memory_format=torch.channels_last) and is_loaded()


def _channels(x: Tensor, key_value: Tensor | None) -> int:
    """C of `attend`."""
    return x.shape[-1] // 3 if key_value is None else x.shape[-1]


def _joined(given: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """One or two tensors of `attend` as kernels take them."""
    return (given[0], given[1]) if len(given) == 2 else (given[0], None)


def _apart(given: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Q [W, N, C], K and V [W, M, C] of `attend`."""
    *first, last = given
    query, key, value = given if len(given) == 3 else (*first, *last.chunk(4 - len(given), dim=-1))
    return query, key, value


def _room(x: Tensor, key_value: Tensor | None, *_: object) -> Tensor:
    return x.new_empty(*x.shape[:-1], _channels(x, key_value))


def _room_received(x: Tensor, key_value: Tensor | None, num_heads: int) -> Tensor:
    windows, rows, _ = x.shape
    keys = rows if key_value is None else key_value.shape[1]
    return x.new_empty((rows + CHUNK - 1) // CHUNK, windows, num_heads, keys)


def _run_attention(
    out: Tensor, received: Tensor | None, x: Tensor, key_value: Tensor | None, num_heads: int, bias: Tensor | None
) -> None:
    query, key, value = _apart([x] if key_value is None else [x, key_value])
    windows, rows, channels = query.shape
    depth = channels // num_heads
    call(
        "attention", out, received, query, key, value, bias,
        windows, num_heads, rows, key.shape[1], depth, CHUNK,
        *(integers(t.stride(0), depth, t.stride(1)) for t in (query, key, value)),
        None if bias is None else integers(bias.stride(1), bias.stride(2)),
        depth**-0.5,
    )  # fmt: skip


def _room_pair(x: Tensor, key_value: Tensor | None, num_heads: int) -> tuple[Tensor, Tensor]:
    return _room(x, key_value), _room_received(x, key_value, num_heads)


@operator("native_attention", _room)
def native_attention(x: Tensor, key_value: Tensor | None, num_heads: int, bias: Tensor | None) -> Tensor:
    """`attend` by the C++ kernel."""
    out = _room(x, key_value)
    _run_attention(out, None, x, key_value, num_heads, bias)
    return out


@operator("native_attention_received", _room_pair)
def native_attention_received(x: Tensor, key_value: Tensor | None, num_heads: int) -> tuple[Tensor, Tensor]:
    """`attend` by the C++ kernel, and the weights that keys receive.

    Returns:
        [W, N, C], and sums over parts of the queries, [parts, W, heads, M].
    """
    out, received = _room_pair(x, key_value, num_heads)
    _run_attention(out, received, x, key_value, num_heads, None)
    return out, received


def _nothing(*_: object) -> None:
    """What is changed in place returns nothing."""


@operator("native_norm_gelu_", _nothing, mutates_args=("x",))
def native_norm_gelu_(x: Tensor, weight: Tensor, bias: Tensor, eps: float, activate: bool) -> None:
    """`norm_gelu` by the C++ kernel, of a map that is channels-last."""
    batch, channels, height, width = x.shape
    call("norm_gelu", x, weight, bias, batch, height * width, channels, eps, activate)

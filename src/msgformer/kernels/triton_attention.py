"""Window attention as one Triton kernel per direction, for NVIDIA GPUs; importing this module needs Triton.

A program processes one head of several windows, one after the other. The scores of a window [N, M] stay in registers,
forward and backward, so that queries, keys, values and outputs are read and written once. They are read in the layout
of the linear layer that produced them. The gradient of the bias is summed over the windows of a program in registers,
and over programs in a fixed order, so that it is deterministic.

Shapes: W windows, N queries and M keys per window, d channels per head. ``heads`` is a list: queries, keys and values,
each [W, heads, N or M, d] with any strides, or one packed tensor [W, N, 3, heads, d], whose gradient is packed, too.
"""

import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton import language as tl

from msgformer.utils.cache import cache_folder

DTYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}
CHANNELS = (16, 32)
MAX_TOKENS = 64
"""Largest number of tokens per window; kernels of larger windows or heads spill registers to memory."""

MIN_CAPABILITY = (8, 0)  # Ampere, the first with tensor cores for bfloat16 and TF32

MAX_PROGRAMS = 1024
"""Largest number of programs: several per multiprocessor, but each one writes a gradient of the bias."""


def is_supported(heads: Sequence[Tensor], bias: Tensor) -> bool:
    """Whether the kernels can compute this attention on the GPU of the bias.

    Args:
        heads: Queries, keys and values, each [W, heads, N or M, d], or one packed tensor [W, N, 3, heads, d].
        bias: Position bias [1, heads, N, M], of any floating type.
    """
    if len(heads) == 1:
        _, rows, _, number, channels = heads[0].shape
        cols = rows
    else:
        windows, number, rows, channels = heads[0].shape
        cols = heads[1].shape[2]
        if not heads[1].shape == heads[2].shape == (windows, number, cols, channels):
            return False
    return (
        all(one.dtype == heads[0].dtype and one.device == bias.device for one in heads)
        and heads[0].dtype in DTYPES
        and channels in CHANNELS
        and max(rows, cols) <= MAX_TOKENS
        and bias.shape == (1, number, rows, cols)
        and _allowed(bias.device, heads[0].dtype)
    )


@torch.compiler.assume_constant_result
def _allowed(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a GPU has tensor cores for this type, they are enabled, and no graph is exported."""
    # Check this here: elsewhere PyTorch 2.11 reports an export during compilation.
    if torch.compiler.is_exporting() or (dtype == torch.float32 and _precision() != "tf32"):
        return False
    return capability(device) >= MIN_CAPABILITY


def capability(device: torch.device) -> tuple[int, int]:
    """Return the compute capability of a GPU; (0, 0) if there is none, as for fake tensors."""
    return torch.cuda.get_device_capability(device) if torch.cuda.is_available() else (0, 0)


def _precision() -> str:
    """Return Triton's name for the precision of float32 products."""
    return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee"


@torch.library.custom_op("msgformer::window_attention", mutates_args=())
def window_attention(heads: Sequence[Tensor], bias: Tensor) -> Tensor:
    """Compute softmax(Q K^T / sqrt(d) + B) V (eq. 5 of the MSG-Transformer paper).

    Args:
        heads: Queries, keys and values, each [W, heads, N or M, d], or one packed tensor [W, N, 3, heads, d].
        bias: Position bias B [1, heads, N, M].

    Returns:
        Tokens by head, contiguous [W, N, heads, d].
    """
    query, key, value = _parts(heads)
    out = _like(query)
    _launch(_forward, (out.transpose(1, 2), query, key, value), bias, programs=_programs(query))
    return out


@torch.library.custom_op("msgformer::window_attention_backward", mutates_args=())
def window_attention_backward(grad: Tensor, heads: Sequence[Tensor], bias: Tensor) -> list[Tensor]:
    """Compute the gradients of heads and bias.

    Args:
        grad: Gradient of the output, [W, N, heads, d].
        heads: Queries, keys and values, each [W, heads, N or M, d], or one packed tensor [W, N, 3, heads, d].
        bias: Position bias [1, heads, N, M].

    Returns:
        Gradients of each tensor in ``heads``, same shapes, and last of the bias, [1, heads, N, M].
    """
    parts, grads = _parts(heads), _grads(heads)
    programs = _programs(parts[0])
    bias_grads = bias.new_empty(programs, *bias.shape[1:], dtype=torch.float32)
    _launch(_backward, (grad.transpose(1, 2), *parts, *_parts(grads)), bias, bias_grads, programs=programs)
    return [*grads, bias_grads.sum(0, keepdim=True).to(bias.dtype)]


@window_attention.register_fake
def _(heads: Sequence[Tensor], _bias: Tensor) -> Tensor:
    return _like(_parts(heads)[0])


@window_attention_backward.register_fake
def _(_grad: Tensor, heads: Sequence[Tensor], bias: Tensor) -> list[Tensor]:
    return [*_grads(heads), torch.empty_like(bias, memory_format=torch.contiguous_format)]


def _save_inputs(ctx: Any, inputs: tuple[Sequence[Tensor], Tensor], output: Tensor) -> None:  # noqa: ARG001
    heads, bias = inputs
    ctx.save_for_backward(*heads, bias)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[list[Tensor], Tensor]:
    *heads, bias = ctx.saved_tensors
    *grads, bias_grad = torch.ops.msgformer.window_attention_backward(grad, heads, bias)
    return grads, bias_grad


window_attention.register_autograd(_differentiate, setup_context=_save_inputs)


def _parts(heads: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values, each [W, heads, N or M, d], as views."""
    query, key, value = heads[0].permute(2, 0, 3, 1, 4).unbind(0) if len(heads) == 1 else heads
    return query, key, value


def _like(part: Tensor) -> Tensor:
    """Allocate an output [W, N, heads, d] for queries [W, heads, N, d]."""
    return torch.empty_like(part.transpose(1, 2), memory_format=torch.contiguous_format)


def _grads(heads: Sequence[Tensor]) -> list[Tensor]:
    """Allocate the gradients of ``heads``."""
    if len(heads) == 1:
        return [torch.empty_like(heads[0], memory_format=torch.contiguous_format)]
    return [_like(one).transpose(1, 2) for one in heads]


def _programs(query: Tensor) -> int:
    """Return the number of programs that share the windows of a head."""
    return max(1, min(query.shape[0], MAX_PROGRAMS // query.shape[1]))


def _launch(kernel: Any, tensors: Sequence[Tensor], bias: Tensor, *more: Tensor, programs: int) -> None:
    """Run a kernel on tensors [W, heads, N or M, d]; the second is a query and the third a key."""
    windows, heads, rows, channels = tensors[1].shape
    cols = tensors[2].shape[2]
    row_block, col_block = (max(16, triton.next_power_of_2(tokens)) for tokens in (rows, cols))
    if not _INTERPRETED:
        announce_compilation(capability(bias.device))
    with torch.cuda.device_of(bias):
        kernel[programs, heads](
            *tensors,
            bias,
            *more,
            *(one.stride() for one in tensors),
            bias.stride(),
            windows,
            channels**-0.5,
            rows=rows,
            cols=cols,
            row_block=row_block,
            col_block=col_block,
            channels=channels,
            product=tl.float32 if _INTERPRETED else DTYPES[tensors[1].dtype],
            precision=_precision(),
            num_warps=4,
            num_stages=2,
            enable_fp_fusion=True,
        )


@lru_cache
def announce_compilation(compute_capability: tuple[int, int]) -> None:
    """Print one line about Triton's compilation, once per user, Triton version and GPU type.

    A marker file records it, because Triton does not report whether the kernels are compiled already.
    """
    kind = ".".join(map(str, compute_capability))
    marker = cache_folder() / "native" / f"triton-{triton.__version__}-{kind}.announced"
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch(exist_ok=False)
    except FileExistsError:
        return
    except OSError:
        pass  # without the marker the next process prints the line again
    print(
        f"msgformer: Triton compiles attention kernels for this GPU, once per size; they are stored in "
        f"{Path(triton.knobs.cache.dir)} (MSGFORMER_WINDOW_KERNEL=0 turns them off)",
        file=sys.stderr,
        flush=True,
    )


@triton.jit
def _places(
    pointer: tl.tensor, strides: tl.tuple, window: tl.tensor, head: tl.tensor, token: tl.tensor, channel: tl.tensor
) -> tl.tensor:
    """Return the addresses of a window's tokens of one head, [n, d]."""
    first = pointer + tl.cast(window, tl.int64) * strides[0] + head * strides[1]  # large batches go beyond 2^31
    return first + (token[:, None] * strides[2] + channel[None, :] * strides[3])


@triton.jit
def _load(places: tl.tensor, token: tl.tensor, tokens: tl.tensor, product: tl.constexpr) -> tl.tensor:
    """Load a window's tokens of one head, [n, d], with zeros after the last."""
    return tl.load(places, mask=token[:, None] < tokens, other=0.0).to(product)


@triton.jit
def _load_bias(
    pointer: tl.tensor,
    strides: tl.tuple,
    head: tl.tensor,
    row: tl.tensor,
    col: tl.tensor,
    rows: tl.tensor,
    cols: tl.tensor,
) -> tl.tensor:
    """Load the bias of one head, [row block, column block], with -inf for columns after the last key."""
    places = head * strides[1] + row[:, None] * strides[2] + col[None, :] * strides[3]
    inside = (row[:, None] < rows) & (col[None, :] < cols)
    bias = tl.load(pointer + places, mask=inside, other=0.0).to(tl.float32)
    return tl.where(col[None, :] < cols, bias, -float("inf"))


@triton.jit
def _exponentials(
    query: tl.tensor, key: tl.tensor, bias: tl.tensor, scale: tl.tensor, precision: tl.constexpr
) -> tl.tensor:
    """Compute the numerator of the softmax, [row block, column block]."""
    scores = tl.dot(query, tl.trans(key), input_precision=precision) * scale + bias
    return tl.exp(scores - tl.max(scores, 1)[:, None])


@triton.jit(do_not_specialize=["windows"])
def _forward(
    out: tl.tensor,
    query: tl.tensor,
    key: tl.tensor,
    value: tl.tensor,
    bias: tl.tensor,
    out_strides: tl.tuple,
    query_strides: tl.tuple,
    key_strides: tl.tuple,
    value_strides: tl.tuple,
    bias_strides: tl.tuple,
    windows: tl.tensor,
    scale: tl.tensor,
    rows: tl.constexpr,
    cols: tl.constexpr,
    row_block: tl.constexpr,
    col_block: tl.constexpr,
    channels: tl.constexpr,
    product: tl.constexpr,
    precision: tl.constexpr,
) -> None:
    head = tl.program_id(1)
    row, col, channel = tl.arange(0, row_block), tl.arange(0, col_block), tl.arange(0, channels)
    added = _load_bias(bias, bias_strides, head, row, col, rows, cols)
    for window in range(tl.program_id(0), windows, tl.num_programs(0)):
        q = _load(_places(query, query_strides, window, head, row, channel), row, rows, product)
        k = _load(_places(key, key_strides, window, head, col, channel), col, cols, product)
        v = _load(_places(value, value_strides, window, head, col, channel), col, cols, product)
        weights = _exponentials(q, k, added, scale, precision)
        mixed = tl.dot(weights.to(product), v, input_precision=precision) / tl.sum(weights, 1)[:, None]
        tl.store(_places(out, out_strides, window, head, row, channel), mixed, mask=row[:, None] < rows)


@triton.jit(do_not_specialize=["windows"])
def _backward(
    grad: tl.tensor,
    query: tl.tensor,
    key: tl.tensor,
    value: tl.tensor,
    query_grad: tl.tensor,
    key_grad: tl.tensor,
    value_grad: tl.tensor,
    bias: tl.tensor,
    bias_grad: tl.tensor,
    grad_strides: tl.tuple,
    query_strides: tl.tuple,
    key_strides: tl.tuple,
    value_strides: tl.tuple,
    query_grad_strides: tl.tuple,
    key_grad_strides: tl.tuple,
    value_grad_strides: tl.tuple,
    bias_strides: tl.tuple,
    windows: tl.tensor,
    scale: tl.tensor,
    rows: tl.constexpr,
    cols: tl.constexpr,
    row_block: tl.constexpr,
    col_block: tl.constexpr,
    channels: tl.constexpr,
    product: tl.constexpr,
    precision: tl.constexpr,
) -> None:
    head = tl.program_id(1)
    row, col, channel = tl.arange(0, row_block), tl.arange(0, col_block), tl.arange(0, channels)
    added = _load_bias(bias, bias_strides, head, row, col, rows, cols)
    total = tl.zeros([row_block, col_block], tl.float32)
    for window in range(tl.program_id(0), windows, tl.num_programs(0)):
        q = _load(_places(query, query_strides, window, head, row, channel), row, rows, product)
        k = _load(_places(key, key_strides, window, head, col, channel), col, cols, product)
        v = _load(_places(value, value_strides, window, head, col, channel), col, cols, product)
        g = _load(_places(grad, grad_strides, window, head, row, channel), row, rows, product)
        weights = _exponentials(q, k, added, scale, precision)
        weights /= tl.sum(weights, 1)[:, None]
        v_grad = tl.dot(tl.trans(weights.to(product)), g, input_precision=precision)
        tl.store(_places(value_grad, value_grad_strides, window, head, col, channel), v_grad, mask=col[:, None] < cols)
        weights_grad = tl.dot(g, tl.trans(v), input_precision=precision)
        # Gradient of the softmax: dS = P * (dP - rowsum(P * dP)).
        scores_grad = weights * (weights_grad - tl.sum(weights * weights_grad, 1)[:, None])
        total += scores_grad
        scores_grad = scores_grad.to(product)
        q_grad = tl.dot(scores_grad, k, input_precision=precision) * scale
        k_grad = tl.dot(tl.trans(scores_grad), q, input_precision=precision) * scale
        tl.store(_places(query_grad, query_grad_strides, window, head, row, channel), q_grad, mask=row[:, None] < rows)
        tl.store(_places(key_grad, key_grad_strides, window, head, col, channel), k_grad, mask=col[:, None] < cols)
    place = (tl.program_id(0) * tl.num_programs(1) + head) * rows * cols
    inside = (row[:, None] < rows) & (col[None, :] < cols)
    tl.store(bias_grad + place + row[:, None] * cols + col[None, :], total, mask=inside)


_INTERPRETED = not isinstance(_forward, triton.JITFunction)  # the interpreter has no bfloat16 products

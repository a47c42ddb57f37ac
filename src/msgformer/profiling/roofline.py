"""How fast a model could be on a machine: its own matrix products and convolutions, each as fast as it goes there."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from msgformer.models.attention import plain_attention
from msgformer.optimized.ops import attend, is_supported
from msgformer.optimized.packed import PackedLinear

aten = torch.ops.aten
LINEAR = {aten.mm.default, aten.addmm.default}
BATCHED = {aten.bmm.default, aten.baddbmm.default}
ATTENTION = {
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
}
COUNTED = {*LINEAR, *BATCHED, *ATTENTION, aten.convolution.default}

LEAST_REPEATS, MOST_REPEATS, LEAST_SECONDS = 3, 50, 0.02
"""Each way to compute a shape is run so often, and until it has taken so long in all."""

LONG_SECONDS = 0.5
"""What takes so long is run once: warming up is no part of it worth speaking of."""


MAX_SCORES_PER_CHUNK = 2**26
"""More than these an attention's products aren't computed one after the other: they take all memory and are slow."""


class Shape(tuple[int, ...]):
    """Stands for a tensor among the arguments of an operator."""


Operation = tuple[Any, tuple[Any, ...], tuple[tuple[str, Any], ...]]
"""An operator, its arguments and its named arguments, with a :class:`Shape` in the place of each tensor."""

Way = Callable[[], object]


class Recorder(TorchDispatchMode):
    """Counts the matrix products, attentions and convolutions that are computed meanwhile.

    Attributes:
        operations: How often each was computed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[Operation] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute, and count."""
        kwargs = kwargs or {}
        if func in COUNTED:
            named = tuple(sorted((name, _shaped(value)) for name, value in kwargs.items()))
            self.operations[func, tuple(map(_shaped, args)), named] += 1
        return func(*args, **kwargs)


def _shaped(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Shape(value.shape)
    return tuple(value) if isinstance(value, list) else value


@torch.no_grad()  # under inference mode linear layers would not be told apart into their products
def record(model: nn.Module, images: Tensor) -> Counter[Operation]:
    """The matrix products, attentions and convolutions of a model in eager mode, and how often each is computed.

    Args:
        model: In evaluation mode.
        images: [B, C, H, W]
    """
    with Recorder() as recorder, plain_attention():  # as PyTorch's operators, which are what is counted
        model(images)
    return recorder.operations


@torch.no_grad()
def floor_seconds(operations: Counter[Operation], like: Tensor) -> float:
    """The sum over all operations of the fastest time in which this machine computes each, measured now.

    Args:
        operations: What :func:`record` found.
        like: Any tensor of the number format and on the device to measure.
    """
    return sum(count * _fastest(operation, like) for operation, count in operations.items())


def _fastest(operation: Operation, like: Tensor) -> float:
    """Seconds of the fastest way."""
    candidates = ways(operation, like)
    least = _least_seconds(next(candidates), like)
    with suppress(NotImplementedError, RuntimeError):  # the later ones aren't known to every build and format
        for way in candidates:
            least = min(least, _least_seconds(way, like))
    return least


def ways(operation: Operation, like: Tensor) -> Iterator[Way]:
    """Ways to compute an operation: as it is, in layouts that may pay, with weights packed by oneDNN, by our kernels.

    Args:
        operation: Which, and for what shapes.
        like: Any tensor of the number format and on the device to compute with.
    """
    func, shapes, named = operation
    args, kwargs = [_filled(value, like) for value in shapes], {name: _filled(value, like) for name, value in named}
    yield lambda: func(*args, **kwargs)
    if func in LINEAR:
        yield from _linear_ways(args)
    elif func in BATCHED:
        *added, left, right = args
        turned = right.transpose(1, 2).contiguous().transpose(1, 2)
        yield lambda: func(*added, left, turned, **kwargs)
    elif func in ATTENTION:
        yield from _attention_ways(func, args, kwargs)
    else:
        yield from _convolution_ways(func, args)


def _filled(value: Any, like: Tensor) -> Any:
    """A tensor for a shape; any other argument as it was."""
    if isinstance(value, Shape):
        return torch.randn(value, device=like.device).to(like.dtype)
    return list(value) if isinstance(value, tuple) else value


def _linear_ways(args: list[Any]) -> Iterator[Way]:
    """[rows, in] x [in, out] with the weight as a linear layer has it, [out, in], packed, and by our kernel."""
    *added, rows, weight = args
    bias = added[0] if added else None
    if bias is not None and bias.dim() != 1:  # no linear layer's
        return
    upright = weight.T.contiguous()
    yield lambda: F.linear(rows, upright, bias)
    if _has_onednn(rows):
        packed = torch.ops.mkldnn._reorder_linear_weight(upright, None)  # takes the weight as it is
        yield lambda: torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], "none")
    ours = PackedLinear(upright, bias)
    if ours.panels_for(rows) is not None:
        yield lambda: ours(rows)


def _attention_ways(func: Any, args: list[Any], kwargs: dict[str, Any]) -> Iterator[Way]:
    """Of [B, heads, N, D]: with the heads inside of the tokens, the two products alone, and by our kernel."""
    query, key, value = args[:3]
    inner = [one.transpose(1, 2).contiguous().transpose(1, 2) for one in (query, key, value)]
    yield lambda: func(*inner, *args[3:], **kwargs)
    if query.shape[:-1].numel() * key.shape[-2] <= MAX_SCORES_PER_CHUNK:
        scores = query @ key.transpose(-2, -1)
        yield lambda: (query @ key.transpose(-2, -1), scores @ value)
    tokens = [one.transpose(1, 2).flatten(2) for one in (query, key, value)]
    given, heads = [tokens[0], torch.cat(tokens[1:], dim=-1)], query.shape[1]
    if is_supported(given, heads):
        yield lambda: attend(given, heads)


def _convolution_ways(func: Any, args: list[Any]) -> Iterator[Way]:
    """With maps and weights channels-last, with the maps alone so, and with packed weights."""
    images, weight, bias, stride, padding, dilation, transposed, _, groups = args
    if images.dim() != 4:
        return
    last = images.contiguous(memory_format=torch.channels_last)
    yield lambda: func(last, *args[1:])
    weight_last = weight.contiguous(memory_format=torch.channels_last)
    yield lambda: func(last, weight_last, *args[2:])
    if _has_onednn(images) and not transposed:
        where = (padding, stride, dilation, groups)
        reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # whose published type lacks an argument
        packed = reorder(weight.to_mkldnn(), *where, list(images.shape))
        yield lambda: torch.ops.mkldnn._convolution_pointwise(last, packed, bias, *where, "none", [], "none")


def _has_onednn(tensor: Tensor) -> bool:
    onednn = torch.backends.mkldnn
    return tensor.device.type == "cpu" and bool(onednn.is_available() and onednn.enabled)


def _least_seconds(way: Way, like: Tensor) -> float:
    """Least seconds of several runs, after one that isn't counted unless it takes long."""
    first = _seconds(way, like)
    if first >= LONG_SECONDS:
        return first
    least, total, repeats = float("inf"), 0.0, 0
    while repeats < LEAST_REPEATS or (total < LEAST_SECONDS and repeats < MOST_REPEATS):
        taken = _seconds(way, like)
        least, total, repeats = min(least, taken), total + taken, repeats + 1
    return least


def _seconds(way: Way, like: Tensor) -> float:
    wait_for(like.device)
    start = time.perf_counter()
    way()
    wait_for(like.device)
    return time.perf_counter() - start


def wait_for(device: torch.device) -> None:
    """Wait until an accelerator is done; a CPU is."""
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)

"""Roofline of a model: its matrix products and convolutions, each at the fastest time measured on this machine."""

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
    # The operators that F.scaled_dot_product_attention calls; only that function is public.
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
}
COUNTED = {*LINEAR, *BATCHED, *ATTENTION, aten.convolution.default}

MIN_REPEATS, MAX_REPEATS, MIN_SECONDS = 3, 50, 0.02
"""Each implementation of an operation is repeated until both minimums are reached, or the maximum."""

LONG_SECONDS = 0.5
"""Implementations that take this long are run once: warm-up hardly affects them."""

MAX_SCORES = 2**26
"""Attention with more scores is not computed as two separate products, which would be slow and take too much memory."""


class Shape(tuple[int, ...]):
    """Placeholder of a tensor among the arguments of an operator."""


Operation = tuple[Any, tuple[Any, ...], tuple[tuple[str, Any], ...]]
"""An operator, its arguments and its named arguments, with a `Shape` instead of each tensor."""

Implementation = Callable[[], object]


class Recorder(TorchDispatchMode):
    """Records the matrix products, attentions and convolutions that are computed within the block.

    ``torch.utils.flop_counter`` is the public counter, but it keeps only sums and not the shapes of each product.

    Attributes:
        operations: Number of calls of each operation.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # mypy excludes no calls of super()
        self.operations: Counter[Operation] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator, and count it."""
        kwargs = kwargs or {}
        if func in COUNTED:
            named = tuple(sorted((name, _shaped(value)) for name, value in kwargs.items()))
            self.operations[func, tuple(map(_shaped, args)), named] += 1
        return func(*args, **kwargs)


def _shaped(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Shape(value.shape)
    return tuple(value) if isinstance(value, list) else value


@torch.no_grad()  # in inference mode, linear layers would not be decomposed into matrix products
def record_operations(model: nn.Module, images: Tensor) -> Counter[Operation]:
    """Record the matrix products, attentions and convolutions of a model in eager mode.

    Args:
        model: Model in evaluation mode.
        images: Images [B, C, H, W].

    Returns:
        Number of calls of each operation.
    """
    recorder = Recorder()
    with recorder, plain_attention():  # PyTorch's operators, which can be counted
        model(images)
    return recorder.operations


@torch.no_grad()
def measure_roofline(operations: Counter[Operation], like: Tensor) -> float:
    """Measure the roofline: the sum over all operations of the fastest time on this machine, in seconds.

    Args:
        operations: Number of calls of each operation, from `record_operations`.
        like: Any tensor with the number format and device to measure.
    """
    return sum(count * _fastest_seconds(operation, like) for operation, count in operations.items())


def _fastest_seconds(operation: Operation, like: Tensor) -> float:
    """Return the time of the fastest implementation."""
    candidates = implementations(operation, like)
    fastest = _min_seconds(next(candidates), like)
    with suppress(NotImplementedError, RuntimeError):  # not every build and number format has the later ones
        for candidate in candidates:
            fastest = min(fastest, _min_seconds(candidate, like))
    return fastest


def implementations(operation: Operation, like: Tensor) -> Iterator[Implementation]:
    """Yield implementations of an operation: the operator itself, other memory layouts, oneDNN, and our kernels.

    Args:
        operation: Operator and shapes.
        like: Any tensor with the number format and device to compute with.
    """
    func, shapes, named = operation
    args = [_random_argument(value, like) for value in shapes]
    kwargs = {name: _random_argument(value, like) for name, value in named}
    yield lambda: func(*args, **kwargs)
    if func in LINEAR:
        yield from _linear_implementations(args)
    elif func in BATCHED:
        *added, left, right = args
        column_major = right.transpose(1, 2).contiguous().transpose(1, 2)
        yield lambda: func(*added, left, column_major, **kwargs)
    elif func in ATTENTION:
        yield from _attention_implementations(func, args, kwargs)
    else:
        yield from _convolution_implementations(func, args)


def _random_argument(value: Any, like: Tensor) -> Any:
    """Return a random tensor for a shape, and any other argument unchanged."""
    if isinstance(value, Shape):
        return torch.randn(value, device=like.device).to(like.dtype)
    return list(value) if isinstance(value, tuple) else value


def _linear_implementations(args: list[Any]) -> Iterator[Implementation]:
    """Compute [rows, in] x [in, out] by a linear layer with weight [out, in], with a packed weight, and by ours."""
    *added, rows, weight = args
    bias = added[0] if added else None
    if bias is not None and bias.dim() != 1:  # not a linear layer
        return
    linear_weight = weight.T.contiguous()
    yield lambda: F.linear(rows, linear_weight, bias)
    if _has_onednn(rows):
        packed = torch.ops.mkldnn._reorder_linear_weight(linear_weight, None)
        yield lambda: torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], "none")
    packed_linear = PackedLinear(linear_weight, bias)
    if packed_linear.panels_for(rows) is not None:
        yield lambda: packed_linear(rows)


def _attention_implementations(func: Any, args: list[Any], kwargs: dict[str, Any]) -> Iterator[Implementation]:
    """Compute attention [B, heads, N, D] with memory layout [B, N, heads, D], as two products, and by our kernel."""
    query, key, value = args[:3]
    token_major = [one.transpose(1, 2).contiguous().transpose(1, 2) for one in (query, key, value)]
    yield lambda: func(*token_major, *args[3:], **kwargs)
    if query.shape[:-1].numel() * key.shape[-2] <= MAX_SCORES:
        scores = query @ key.transpose(-2, -1)
        yield lambda: (query @ key.transpose(-2, -1), scores @ value)
    tokens = [one.transpose(1, 2).flatten(2) for one in (query, key, value)]
    given, heads = [tokens[0], torch.cat(tokens[1:], dim=-1)], query.shape[1]
    if is_supported(given, heads):
        yield lambda: attend(given, heads)


def _convolution_implementations(func: Any, args: list[Any]) -> Iterator[Implementation]:
    """Compute a convolution with channels-last input, with channels-last input and weight, and with packed weights."""
    images, weight, bias, stride, padding, dilation, transposed, _, groups = args
    if images.dim() != 4:
        return
    channels_last = images.contiguous(memory_format=torch.channels_last)
    yield lambda: func(channels_last, *args[1:])
    weight_channels_last = weight.contiguous(memory_format=torch.channels_last)
    yield lambda: func(channels_last, weight_channels_last, *args[2:])
    if _has_onednn(images) and not transposed:
        geometry = (padding, stride, dilation, groups)
        reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # its type stub lacks an argument
        packed = reorder(weight.to_mkldnn(), *geometry, list(images.shape))
        yield lambda: torch.ops.mkldnn._convolution_pointwise(
            channels_last, packed, bias, *geometry, "none", [], "none"
        )


def _has_onednn(tensor: Tensor) -> bool:
    onednn = torch.backends.mkldnn
    return tensor.device.type == "cpu" and bool(onednn.is_available() and onednn.enabled)


def _min_seconds(implementation: Implementation, like: Tensor) -> float:
    """Return the minimum time of several runs, after a warm-up run; a long first run is not repeated."""
    first = _seconds(implementation, like)
    if first >= LONG_SECONDS:
        return first
    minimum, total, repeats = float("inf"), 0.0, 0
    while repeats < MIN_REPEATS or (total < MIN_SECONDS and repeats < MAX_REPEATS):
        seconds = _seconds(implementation, like)
        minimum, total, repeats = min(minimum, seconds), total + seconds, repeats + 1
    return minimum


def _seconds(implementation: Implementation, like: Tensor) -> float:
    synchronize(like.device)
    start = time.perf_counter()
    implementation()
    synchronize(like.device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished; does nothing on the CPU."""
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)

"""Indices of tokens that depend on sizes alone, kept for the sizes seen last instead of computed at every call."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.fx import Proxy

CACHE_SIZE = 32
"""Results kept of each function."""

MAX_ENTRIES = 2**19
"""Of a result's tensors in all, 4 MiB of indices; larger ones are made anew, which such sizes make nobody notice."""

P = ParamSpec("P")
T = TypeVar("T")


def cache_by_shape(make: Callable[P, T]) -> Callable[P, T]:
    """Keeps what a function of sizes and a device returns: a tensor, or a tuple of some.

    Nobody may change what is returned. Nothing is kept where sizes are symbols or the call itself is recorded: while a
    graph is captured or traced, and inside modes that watch or replace operators.
    """
    results: dict[Any, T] = {}

    @wraps(make)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if is_recorded():
            return make(*args, **kwargs)
        key = (args, *kwargs.items())
        if (known := results.get(key)) is not None:
            return known
        with torch.inference_mode(False), torch.no_grad():  # otherwise no gradient could use it later
            result = make(*args, **kwargs)
        if count_entries(result) <= MAX_ENTRIES and not _in_cuda_graph(result):
            while len(results) >= CACHE_SIZE:
                results.pop(next(iter(results)), None)
            results[key] = result
        return result

    return call


def is_recorded() -> bool:
    """Whether operators that are called now are captured, traced, transformed (by torch.func) or watched."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return True
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return True
    return torch._C._len_torch_dispatch_stack() > 0  # the published way to ask makes a list of them


def is_traced(x: Any) -> bool:
    """Whether ``x`` stands for a tensor while `torch.fx` traces a model: it has no values and no size to branch on."""
    return isinstance(x, Proxy)


def _tensors(result: Any) -> list[Tensor]:
    parts = result if isinstance(result, tuple) else (result,)
    return [part for part in parts if isinstance(part, Tensor)]


def count_entries(result: Any) -> int:
    """Numbers in a tensor, or in all tensors of a tuple."""
    return sum(tensor.numel() for tensor in _tensors(result))


def _in_cuda_graph(result: Any) -> bool:
    """Whether it is made by a CUDA graph that is being captured, and has no values yet."""
    return any(tensor.is_cuda for tensor in _tensors(result)) and torch.cuda.is_current_stream_capturing()

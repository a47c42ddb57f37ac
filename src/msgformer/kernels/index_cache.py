"""Cache of token indices that depend on sizes only; results for the most recent sizes are stored."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from msgformer.kernels.graph_capture import is_recorded

CACHE_SIZE = 32
"""Results stored per function."""

MAX_ENTRIES = 2**19
"""Largest number of entries of a cached result, 4 MiB of indices; at larger sizes recomputing costs little."""

P = ParamSpec("P")
T = TypeVar("T")


def cache_by_shape(function: Callable[P, T]) -> Callable[P, T]:
    """Cache the results of a function of sizes and a device, which returns a tensor or a tuple of tensors.

    Callers must not change the results in place. Nothing is cached where sizes are symbolic or the call is recorded:
    while a graph is captured or traced, and inside modes that observe or replace operators.
    """
    results: dict[Any, T] = {}

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if is_recorded():
            return function(*args, **kwargs)
        key = (args, *kwargs.items())
        if (cached := results.get(key)) is not None:
            return cached
        with torch.inference_mode(False), torch.no_grad():  # otherwise autograd could not use the result later
            result = function(*args, **kwargs)
        if count_entries(result) <= MAX_ENTRIES and not _in_cuda_graph(result):
            while len(results) >= CACHE_SIZE:
                results.pop(next(iter(results)), None)
            results[key] = result
        return result

    return call


def _tensors(result: Any) -> list[Tensor]:
    parts = result if isinstance(result, tuple) else (result,)
    return [part for part in parts if isinstance(part, Tensor)]


def count_entries(result: Any) -> int:
    """Count the entries of a tensor, or of all tensors of a tuple."""
    return sum(tensor.numel() for tensor in _tensors(result))


def _in_cuda_graph(result: Any) -> bool:
    """Whether a result is computed by a CUDA graph that is being captured, and has no values yet."""
    return any(tensor.is_cuda for tensor in _tensors(result)) and torch.cuda.is_current_stream_capturing()

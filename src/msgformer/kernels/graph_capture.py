"""Predicates of graph capture: where operators become part of a graph, and which sizes may decide a branch there."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Proxy


def is_traced(x: Any) -> bool:
    """Whether ``x`` is a proxy while `torch.fx` traces a model; a proxy has no values and no size to branch on."""
    return isinstance(x, Proxy)


def is_captured(x: Any) -> bool:
    """Whether operators on ``x`` become part of a graph that is compiled, exported or traced by `torch.fx`."""
    return torch.compiler.is_compiling() or is_traced(x)


def is_recorded() -> bool:
    """Whether operators called now are captured, traced, transformed by torch.func, or observed."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return True
    # PyTorch has no public query for transforms of torch.func; the one for dispatch modes builds a list.
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return True
    return torch._C._len_torch_dispatch_stack() > 0


def are_fixed(*sizes: int) -> bool:
    """Whether sizes are plain numbers that may decide a branch: not in a graph that is captured for several sizes."""
    if not torch.compiler.is_compiling():
        return True
    return not torch.compiler.is_dynamo_compiling() and all(type(size) is int for size in sizes)

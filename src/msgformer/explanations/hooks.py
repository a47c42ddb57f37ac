"""Trace a model with hooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.utils.hooks import RemovableHandle


@contextmanager
def evaluation_mode(model: nn.Module, hooks: Iterable[RemovableHandle]) -> Iterator[None]:
    """Set a model to evaluation mode within the block; restore its mode and remove the hooks at the end.

    Args:
        model: The model.
        hooks: Hooks to remove.
    """
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()

"""Looking at a model at work: in evaluation mode, with hooks that are gone afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.utils.hooks import RemovableHandle


@contextmanager
def watched(model: nn.Module, hooks: Iterable[RemovableHandle]) -> Iterator[None]:
    """Puts a model into evaluation mode for the block, and takes it back to its mode, and hooks away, at its end."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()

"""Gradient checkpointing: the activations of a block are computed again in the backward pass instead of stored."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import checkpoint
from torch import nn

from msgformer.kernels.graph_capture import is_traced


def run_block(block: nn.Module, *args: Any, recompute: bool) -> Any:
    """Call a block, and recompute its activations where a gradient is needed.

    Args:
        block: The block.
        *args: Its arguments, first its tokens.
        recompute: Whether to recompute; a model traced by `torch.fx` never does.

    Returns:
        Output of the block.
    """
    if recompute and torch.is_grad_enabled() and not is_traced(args[0]):
        return checkpoint(block, *args)
    return block(*args)

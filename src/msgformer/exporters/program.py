"""A model captured as a graph of torch.export, from which every format is made."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from msgformer.checkpoints.export_card import MAX_BATCH, MAX_SIDE, Sizes
from msgformer.errors import UserError

INPUT = "images"

NOISE = (
    r".*is deprecated.*",  # torch's, about torch
    r".*API is experimental.*",  # ExecuTorch's, about all of it
    r".*converted to a (?:Tensor|Python).*",
)
"""Warnings of the exporters that tell the user nothing to act upon."""


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings in ``NOISE``."""
    with warnings.catch_warnings():
        for pattern in NOISE:
            warnings.filterwarnings("ignore", pattern)
        yield


def export_sizes(
    model: nn.Module, size: tuple[int, int], batch: int, *, dynamic_batch: bool, dynamic_size: bool
) -> Sizes:
    """The inputs that an export takes.

    Args:
        model: What is exported.
        size: Height and width, where they are fixed.
        batch: Number of images, where it is fixed.
        dynamic_batch: Take any number of images.
        dynamic_size: Take images of any size from the least on that leaves the model's last map two steps wide and
            high: a captured graph is specialized for a map of one.
    """
    least = coarsest_stride(model) + 1
    sides = (least, MAX_SIDE)
    return Sizes(
        (1, MAX_BATCH) if dynamic_batch else (batch, batch),
        sides if dynamic_size else (size[0], size[0]),
        sides if dynamic_size else (size[1], size[1]),
    )


def coarsest_stride(model: nn.Module) -> int:
    """Pixels a step of a model's coarsest map; 32, as of most, where the model doesn't say."""
    anchors: Any = getattr(getattr(model, "rpn", model), "anchor_generator", None)
    if anchors is not None:
        return max(anchors.strides)
    info: Any = getattr(model, "feature_info", None) or [dict(reduction=32)]
    return max(entry["reduction"] for entry in info)


def example_input(model: nn.Module, sizes: Sizes, channels: int) -> Tensor:
    """Images to capture a model with: where a size is dynamic, not one that the graph could be specialized for."""
    stride = coarsest_stride(model)
    dynamic_size = sizes.height[0] < sizes.height[1]
    height, width = (3 * stride + 4, 4 * stride + 12) if dynamic_size else (sizes.height[0], sizes.width[0])
    generator = torch.Generator().manual_seed(0)
    return torch.randn(sizes.fixed_batch or 2, channels, height, width, generator=generator)


def capture(model: nn.Module, sizes: Sizes, channels: int = 3) -> ExportedProgram:
    """The graph of a model in evaluation mode on the CPU.

    Args:
        model: Called with images [B, C, H, W].
        sizes: The inputs that the graph takes.
        channels: Of the images.

    Raises:
        UserError: the model can't be captured, or not for these sizes.
    """
    bounds = {0: ("batch", sizes.batch), 2: ("height", sizes.height), 3: ("width", sizes.width)}
    dims = {axis: Dim(name, min=low, max=high) for axis, (name, (low, high)) in bounds.items() if low < high}
    images = example_input(model, sizes, channels)
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(model, (images,), dynamic_shapes=(dims or None,))
    except Exception as error:  # whatever it is that the exporter can't follow
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        remedy = "leave out --dynamic-size or --dynamic-batch" if dims else "it has no such form"
        raise UserError(f"{type(model).__name__} can't be exported as a graph ({reason}); {remedy}") from error

"""Capture of a model as a torch.export graph, from which every format is made."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from msgformer.checkpoints.export_card import MAX_BATCH, MAX_SIDE, Sizes
from msgformer.errors import UserError

INPUT = "images"

NOISE = (
    r".*is deprecated.*",  # torch about its own functions
    r".*API is experimental.*",  # ExecuTorch about all of its functions
    r".*converted to a (?:Tensor|Python).*",
)
"""Warnings of the exporters that users can't act on."""


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the warnings in `NOISE`."""
    with warnings.catch_warnings():
        for pattern in NOISE:
            warnings.filterwarnings("ignore", pattern)
        yield


def export_sizes(
    model: nn.Module, size: tuple[int, int], batch: int, *, dynamic_batch: bool, dynamic_size: bool
) -> Sizes:
    """Return the input sizes of an export.

    Args:
        model: The model to export.
        size: Height and width, if they are fixed.
        batch: Number of images, if it is fixed.
        dynamic_batch: Whether to accept any number of images.
        dynamic_size: Whether to accept images of any size. The minimum size gives a coarsest feature map of 2 x 2,
            since torch specializes a graph for a map of 1 x 1.
    """
    sides = (coarsest_stride(model) + 1, MAX_SIDE)
    return Sizes(
        (1, MAX_BATCH) if dynamic_batch else (batch, batch),
        sides if dynamic_size else (size[0], size[0]),
        sides if dynamic_size else (size[1], size[1]),
    )


def coarsest_stride(model: nn.Module) -> int:
    """Return the stride of a model's coarsest feature map; 32, the usual value, if the model doesn't declare it."""
    anchors: Any = getattr(getattr(model, "rpn", model), "anchor_generator", None)
    if anchors is not None:
        strides: Sequence[int] = anchors.strides
        return max(strides)
    info: Any = getattr(model, "feature_info", None) or [dict(reduction=32)]
    reductions: list[int] = [entry["reduction"] for entry in info]
    return max(reductions)


def example_input(model: nn.Module, sizes: Sizes, channels: int) -> Tensor:
    """Return images to capture a model with; dynamic sizes avoid values for which torch would specialize the graph.

    Args:
        model: The model.
        sizes: The inputs that the graph accepts.
        channels: Number of channels C.

    Returns:
        Random images [B, C, H, W].
    """
    stride = coarsest_stride(model)
    dynamic_size = sizes.height[0] < sizes.height[1]
    height, width = (3 * stride + 4, 4 * stride + 12) if dynamic_size else (sizes.height[0], sizes.width[0])
    generator = torch.Generator().manual_seed(0)
    return torch.randn(sizes.fixed_batch or 2, channels, height, width, generator=generator)


def capture(model: nn.Module, sizes: Sizes, channels: int = 3) -> ExportedProgram:
    """Capture the graph of a model in evaluation mode on the CPU.

    Args:
        model: The model, called with images [B, C, H, W].
        sizes: The inputs that the graph accepts.
        channels: Number of channels C.

    Raises:
        UserError: The model can't be captured for these sizes.
    """
    bounds = {0: ("batch", sizes.batch), 2: ("height", sizes.height), 3: ("width", sizes.width)}
    dims = {axis: Dim(name, min=low, max=high) for axis, (name, (low, high)) in bounds.items() if low < high}
    images = example_input(model, sizes, channels)
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(model, (images,), dynamic_shapes=(dims or None,))
    except Exception as error:  # the exporter raises many types of errors for unsupported code
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        remedy = "leave out --dynamic_size or --dynamic_batch" if dims else "torch.export doesn't support the model"
        raise UserError(f"{type(model).__name__} can't be exported as a graph ({reason}); {remedy}") from error

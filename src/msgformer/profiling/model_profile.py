"""Count the parameters, multiply-adds and activations of models, on the meta device."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from msgformer.heads import count_detector_macs, count_segmenter_macs, create_detector, create_segmenter
from msgformer.models import create_model
from msgformer.profiling.published import PUBLISHED, PublishedSize
from msgformer.profiling.sizes import Comparison, ModelSize, PartSize

# On the meta device attention consists of matrix products, so that these operators cover everything.
PRODUCTS = (
    torch.ops.aten.mm,
    torch.ops.aten.addmm,
    torch.ops.aten.bmm,
    torch.ops.aten.baddbmm,
    torch.ops.aten.convolution,
)


def measure_model(name: str, size: tuple[int, int], *, compare: bool = True) -> ModelSize:
    """Count the size of a model for one image.

    Args:
        name: Name of a model of this package.
        size: Height and width of the image.
        compare: Also compare it with the published sizes, including those with detection and segmentation heads.
    """
    total, *parts = measure_parts(name, size)
    comparisons = [_compare(name, published) for published in PUBLISHED[name]] if compare else []
    return ModelSize(name, size, total, parts, comparisons)


def measure_parts(name: str, size: tuple[int, int]) -> list[PartSize]:
    """Count a classifier of 1000 classes for one image: in total, then its stem, stages and head.

    The stem includes the initial messengers or the position embedding; the head includes the last norm.

    Args:
        name: Name of a model of this package.
        size: Height and width of the image.
    """
    with torch.device("meta"):
        model: Any = create_model(name).eval()
    macs, activations = FlopCounterMode(display=False), FlopCounterMode(display=False, custom_mapping=_OUTPUTS)
    with torch.no_grad(), macs, activations:
        model(torch.empty(1, 3, *size, device="meta"))

    def cost(part: str, module: nn.Module, path: str, own: int = 0) -> PartSize:
        return PartSize(part, own + _parameters(module), _total(macs, path) // 2, _total(activations, path))

    root = type(model).__name__
    whole = cost("all", model, root)
    own = sum(parameter.numel() for parameter in model.parameters(recurse=False))
    parts = [cost("stem", model.patch_embed, f"{root}.patch_embed", own)]
    for index, stage in enumerate(model.stages):
        parts.append(cost(f"stage {index + 1}", stage, f"{root}.stages.{index}"))
    rest = (
        getattr(whole, key) - sum(getattr(part, key) for part in parts) for key in ("parameters", "macs", "activations")
    )
    return [whole, *parts, PartSize("head", *rest)]


def _compare(name: str, published: PublishedSize) -> Comparison:
    """Compare the counted size of a model and head with the published one."""
    parameters, macs = _count(name, published)
    published_parameters = round(published.parameters * 1e6)
    published_macs = None if published.macs is None else round(published.macs * 1e9)
    return Comparison(
        setting=published.setting,
        input_size=published.input_size,
        parameters=parameters,
        published_parameters=published_parameters,
        parameters_difference=_percent_difference(parameters, published_parameters),
        macs=macs,
        published_macs=published_macs,
        macs_difference=None if published_macs is None else _percent_difference(macs, published_macs),
    )


def _count(name: str, published: PublishedSize) -> tuple[int, int]:
    """Return parameters, and multiply-adds as the published table counts them."""
    size, head = published.input_size, published.head
    if head is None:
        whole = measure_parts(name, size)[0]
        return whole.parameters, whole.macs
    with torch.device("meta"):
        model: Any = create_segmenter(name, head) if head == "upernet" else create_detector(name, head)
    if head == "upernet":
        return _parameters(model), count_segmenter_macs(model, size)
    return _parameters(model), sum(count_detector_macs(model, size).values())


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _percent_difference(counted: int, published: int) -> float:
    return 100 * (counted / published - 1)


def _outputs(*_: Any, out_shape: Any, **__: Any) -> int:
    """Return the number of output elements of an operator, with the signature of a FLOP formula."""
    return math.prod(out_shape)


_OUTPUTS = dict.fromkeys(PRODUCTS, _outputs)


def _total(counter: FlopCounterMode, path: str) -> int:
    return sum(counter.get_flop_counts().get(path, {}).values())

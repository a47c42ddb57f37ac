"""Optimization of models for inference: the copies compute the same outputs in less time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from msgformer.models import conv_layers
from msgformer.models import msg_transformer as msg
from msgformer.models import sg_former as sg
from msgformer.models.conv_layers import Downsample
from msgformer.models.merging import OverlappingMerging, PatchEmbed
from msgformer.optimized import msg_transformer as fast_msg
from msgformer.optimized import sg_former as fast_sg
from msgformer.optimized.packed import PackedLinear, fast_conv, prepare_layouts

_FASTER: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    PatchEmbed: fast_msg.fast_patch_embed,
    msg.Stage: fast_msg.FastStage,
    OverlappingMerging: fast_msg.FastMerging,
    conv_layers.PatchEmbed: fast_sg.FastPatchEmbed,
    Downsample: fast_sg.FastConvStack,
    sg.Block: fast_sg.FastBlock,
    nn.Linear: lambda linear: PackedLinear(linear.weight, linear.bias),
    nn.Conv2d: fast_conv,
}
"""Optimized replacement per type of module."""

_FASTER_MODELS: dict[type[nn.Module], Any] = {
    msg.MsgTransformer: fast_msg.FastMsgTransformer,
    sg.SgFormer: fast_sg.FastSgFormer,
}
"""Optimized class per type of classifier."""

Model = TypeVar("Model", bound=nn.Module)


def optimize(model: Model) -> Model:
    """Create a faster copy for inference with the same outputs up to rounding.

    Norms are folded into the linear layers that follow them, position biases are gathered, linear layers with the same
    input are joined, and in a classifying MSG-Transformer the last block computes messengers only. On CPUs in float32,
    products, attention and depth-wise convolutions are C++ kernels, which are compiled once if there is a compiler
    (``MSGFORMER_NATIVE=0`` disables them); their weights are packed now. Other weights are packed for oneDNN. Detectors
    and segmenters get a faster backbone. The copy can be compiled and exported like the model. It can't be trained, and
    does not follow later changes of the model's weights. Hooks of optimized layers are dropped.

    Args:
        model: Any module; the backbones of this package, linear layers and convolutions in it are optimized, the rest
            is copied.

    Returns:
        The copy, in evaluation mode and without gradients.
    """
    fast = copy.deepcopy(model).eval().requires_grad_(False)
    _replace(fast)
    prepare_layouts(fast)
    if type(fast) in _FASTER_MODELS:
        fast.__class__ = _FASTER_MODELS[type(fast)]  # the classes differ in `forward` only
    return fast


def _replace(module: nn.Module) -> None:
    """Replace the submodules of ``module`` by optimized ones, recursively."""
    for name, child in module.named_children():
        if type(child) in _FASTER:
            setattr(module, name, _FASTER[type(child)](child))
        _replace(getattr(module, name))

"""Models for inference: equal to those they are made of, and faster."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from msgformer.models import msg_transformer as msg
from msgformer.models import sg_former as sg
from msgformer.optimized import msg_transformer as fast_msg
from msgformer.optimized import sg_former as fast_sg
from msgformer.optimized.packed import PackedConv2d, PackedLinear, prepare_layouts

_FASTER: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    msg.PatchEmbed: fast_msg.fast_patch_embed,
    msg.Stage: fast_msg.FastStage,
    msg.OverlappingMerging: fast_msg.FastMerging,
    sg.PatchEmbed: fast_sg.FastPatchEmbed,
    sg.Downsample: fast_sg.FastConvStack,
    sg.Block: fast_sg.FastBlock,
    nn.Linear: lambda linear: PackedLinear(linear.weight, linear.bias),
    nn.Conv2d: PackedConv2d,
}
"""What stands in for a module, whichever model it is part of."""

_FASTER_MODELS: dict[type[nn.Module], Any] = {
    msg.MsgTransformer: fast_msg.FastMsgTransformer,
    sg.SgFormer: fast_sg.FastSgFormer,
}
"""What a classifier becomes as a whole."""

Model = TypeVar("Model", bound=nn.Module)


def optimize(model: Model) -> Model:
    """A copy for inference that gives the same answers, up to rounding, in less time.

    Norms are folded into the linear layers that follow them, position biases are gathered, linear layers that read the
    same tokens become one, and in a classifying MSG-Transformer the last block computes its messengers alone. On CPUs,
    in float32, products, attention and depth-wise convolutions are kernels in C++, which are compiled once where there
    is a compiler (``MSGFORMER_NATIVE=0`` leaves them out); their weights are laid out now. Otherwise weights are laid
    out as the CPU's library wants them. Detectors and segmenters get a faster backbone. The copy can be compiled and
    exported like the model; it can't be trained, and doesn't follow later changes of the model's weights.

    Args:
        model: Any module; what it has of this package's backbones becomes faster, the rest is copied.

    Returns:
        The copy, in evaluation mode and without gradients.
    """
    fast = copy.deepcopy(model).eval().requires_grad_(False)
    _replace(fast)
    prepare_layouts(fast)
    if type(fast) in _FASTER_MODELS:
        fast.__class__ = _FASTER_MODELS[type(fast)]  # only what it leaves out differs
    return fast


def _replace(module: nn.Module) -> None:
    """Puts faster modules in the place of those below ``module``, and inside those that have none."""
    for name, child in module.named_children():
        if type(child) in _FASTER:
            setattr(module, name, _FASTER[type(child)](child))
        _replace(getattr(module, name))

"""Variants of an optimized model's graph for different file formats; the outputs are the same."""

from __future__ import annotations

import copy

from torch import nn

from msgformer.optimized.msg_transformer import FastAttention
from msgformer.optimized.packed import PackedConv2d, PackedLinear
from msgformer.optimized.sg_former import FastConvMlp, FastGuided, FastHybrid, QuantizableConvMlp

_HAS_OPENVINO_FORM = FastAttention, FastGuided, FastHybrid


def prepare_for_format(model: nn.Module, file_format: str, *, is_quantized: bool) -> nn.Module:
    """Copy a model, optimized or not, and adapt its graph to a file format.

    Args:
        model: The model.
        file_format: Format of the file.
        is_quantized: Whether the file holds 8-bit integers.
    """
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, _HAS_OPENVINO_FORM):
            module.is_for_openvino = file_format == "openvino"
        if is_quantized and type(module) is FastConvMlp:
            module.fc2 = _as_convolution(module.fc2)
            module.__class__ = QuantizableConvMlp  # only the form of its graph differs
    return model


def _as_convolution(linear: PackedLinear) -> PackedConv2d:
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1, device="meta")
    conv.weight = nn.Parameter(linear.weight[:, :, None, None])
    conv.bias = None if linear.bias is None else nn.Parameter(linear.bias)
    return PackedConv2d(conv)

"""SG-Former for inference: the same numbers as `msgformer.models.sg_former`, in fewer steps."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from msgformer.deploy.packed import PackedConv2d, PackedLinear
from msgformer.models import sg_former as sg


class FastConvMlp(nn.Module):
    """`ConvMlp`: y + conv(y) is one convolution, whose kernel has 1 added at its centre."""

    def __init__(self, slow: sg.ConvMlp) -> None:
        super().__init__()
        with torch.no_grad():
            slow.dwconv.weight[:, 0, 1, 1] += 1
        self.fc1 = PackedLinear(slow.fc1.weight, slow.fc1.bias)
        self.dwconv = PackedConv2d(slow.dwconv, activation="gelu")
        self.fc2: Any = PackedLinear(slow.fc2.weight, slow.fc2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to the same."""
        return self.fc2(sg.conv_map(self.dwconv, self.fc1(x)))  # type: ignore[arg-type]


class QuantizableConvMlp(FastConvMlp):
    """`FastConvMlp` in the form that is fast once it is quantised: fc2 is a 1 x 1 convolution.

    The transposition between both layers costs nothing in the layout that convolutions like. A linear layer is
    quantised on its far side, after a scale for each channel, and it would have to be carried out.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to the same."""
        return self.fc2(self.dwconv(self.fc1(x).permute(0, 3, 1, 2))).permute(0, 2, 3, 1)


def as_quantizable(model: nn.Module) -> nn.Module:
    """A copy of an optimised model whose graph is to be quantised."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if type(module) is FastConvMlp:
            module.fc2 = _as_convolution(module.fc2)
            module.__class__ = QuantizableConvMlp  # only the form of its graph differs
    return model


def _as_convolution(linear: PackedLinear) -> PackedConv2d:
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1, device="meta")
    conv.weight = nn.Parameter(linear.weight[:, :, None, None])
    conv.bias = None if linear.bias is None else nn.Parameter(linear.bias)
    return PackedConv2d(conv)

"""SG-Former for inference: the same numbers as `msgformer.models.sg_former`, in fewer steps."""

from __future__ import annotations

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
        self.fc2 = PackedLinear(slow.fc2.weight, slow.fc2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to the same."""
        return self.fc2(sg.conv_map(self.dwconv, self.fc1(x)))  # type: ignore[arg-type]

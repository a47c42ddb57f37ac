"""Convolutions on maps with channels last: patch embedding, downsampling and local position of SG-Former."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.models.backbone import Device


def conv_map(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a convolution to a map; the permuted view is channels-last, so nothing is copied.

    Args:
        conv: The convolution.
        x: Map [B, H, W, C].

    Returns:
        Map [B, H', W', C'].
    """
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def depthwise(dim: int, stride: int = 1, bias: bool = True, **dd: Any) -> nn.Conv2d:
    """Create a depth-wise 3 x 3 convolution.

    Args:
        dim: Channels C.
        stride: Stride of the kernel.
        bias: Whether there is a bias.
        **dd: Device and dtype of the parameters.
    """
    return nn.Conv2d(dim, dim, 3, stride=stride, padding=1, groups=dim, bias=bias, **dd)


class ConvNorm(nn.Module):
    """Convolution without bias, then a GroupNorm of one group."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.GroupNorm(1, conv.out_channels, device=conv.weight.device, dtype=conv.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and normalize a map [B, C, H, W]; return [B, C', H', W']."""
        return self.norm(self.conv(x))


class ConvStack(nn.Module):
    """Three `ConvNorm` with GELU between them."""

    def __init__(self, *convs: nn.Conv2d) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConvNorm(conv) for conv in convs)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers to a map [B, H, W, C]; return [B, H', W', C']."""
        x = x.permute(0, 3, 1, 2)
        for index, layer in enumerate(self.layers):
            x = layer(F.gelu(x) if index else x)
        return x.permute(0, 2, 3, 1)


class PatchEmbed(ConvStack):
    """Projects an image to tokens of stride 4 by three 3 x 3 convolutions.

    Args:
        in_chans: Channels of the image.
        dim: Channels C of a token.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    def __init__(self, in_chans: int, dim: int, device: Device = None, dtype: torch.dtype | None = None) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        super().__init__(
            nn.Conv2d(in_chans, dim, 3, stride=2, padding=1, bias=False, **dd),
            nn.Conv2d(dim, dim, 3, padding=1, bias=False, **dd),
            nn.Conv2d(dim, dim, 3, stride=2, padding=1, bias=False, **dd),
        )
        self.norm = nn.LayerNorm(dim, **dd)

    def forward(self, image: Tensor) -> Tensor:
        """Project images [B, 3, S, T] to tokens [B, ceil(S / 4), ceil(T / 4), C]."""
        return self.norm(super().forward(image.permute(0, 2, 3, 1)))


class Downsample(ConvStack):
    """Halves the resolution between two stages.

    Args:
        dim: Channels C of the input tokens.
        out_dim: Channels of the output tokens.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    def __init__(self, dim: int, out_dim: int, device: Device = None, dtype: torch.dtype | None = None) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        super().__init__(
            nn.Conv2d(dim, out_dim, 1, bias=False, **dd),
            depthwise(out_dim, stride=2, bias=False, **dd),
            nn.Conv2d(out_dim, out_dim, 1, bias=False, **dd),
        )


class LocalPosition(nn.Module):
    """Local positional term of every attention: a linear layer, then a depth-wise convolution.

    Args:
        dim: Channels C.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    def __init__(self, dim: int, device: Device = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim, device=device, dtype=dtype)
        self.conv = depthwise(dim, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the positional term of a map [B, H, W, C]; same shape."""
        return conv_map(self.conv, self.linear(x))


def init_conv(module: nn.Module) -> None:
    """Initialize a convolution: normal weights with standard deviation sqrt(2 / fan_out), zero bias."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=(2.0 / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

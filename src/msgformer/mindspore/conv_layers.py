"""Convolutions on maps with channels last: patch embedding, downsampling and local position of SG-Former."""

from __future__ import annotations

from typing import Any

from mindspore import Tensor, nn
from mindspore.common.initializer import Normal

from msgformer.mindspore.layers import Conv2d, LayerNorm, Linear


def convolution(inputs: int, outputs: int, kernel: int, **settings: Any) -> Conv2d:
    """Create a convolution with weights of standard deviation sqrt(2 / fan_out) and zero bias.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        kernel: Side of the kernel.
        **settings: Further arguments of `Conv2d`.
    """
    fan_out = kernel**2 * (1 if settings.get("depthwise") else outputs)
    init = dict(weight_init=Normal((2.0 / fan_out) ** 0.5), bias_init="zeros")
    return Conv2d(inputs, outputs, kernel, **settings, **init)


def depthwise(dim: int, stride: int = 1, bias: bool = True) -> Conv2d:
    """Create a depth-wise 3 x 3 convolution.

    Args:
        dim: Channels C.
        stride: Stride of the kernel.
        bias: Whether there is a bias.
    """
    return convolution(dim, dim, 3, stride=stride, padding=1, depthwise=True, bias=bias)


class ConvNorm(nn.Cell):
    """Convolution without bias, then a GroupNorm of one group."""

    def __init__(self, conv: Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = LayerNorm(conv.out_channels, whole=True)

    def construct(self, x: Tensor) -> Tensor:
        """Convolve and normalize a map [B, H, W, C]; return [B, H', W', C']."""
        return self.norm(self.conv(x))


class ConvStack(nn.Cell):
    """Three `ConvNorm` with GELU between them."""

    def __init__(self, *convs: Conv2d) -> None:
        super().__init__()
        self.layers = nn.CellList([ConvNorm(conv) for conv in convs])
        self.act = nn.GELU(approximate=False)

    def construct(self, x: Tensor) -> Tensor:
        """Apply the layers to a map [B, H, W, C]; return [B, H', W', C']."""
        for index, layer in enumerate(self.layers):  # slicing would create a new list, and rename its parameters
            x = layer(self.act(x) if index else x)
        return x


class PatchEmbed(ConvStack):
    """Projects an image to tokens of stride 4 by three 3 x 3 convolutions.

    Args:
        in_chans: Channels of the image.
        dim: Channels C of a token.
    """

    def __init__(self, in_chans: int, dim: int) -> None:
        super().__init__(
            convolution(in_chans, dim, 3, stride=2, padding=1, bias=False),
            convolution(dim, dim, 3, padding=1, bias=False),
            convolution(dim, dim, 3, stride=2, padding=1, bias=False),
        )
        self.norm = LayerNorm(dim)

    def construct(self, image: Tensor) -> Tensor:
        """Project images [B, 3, S, T] to tokens [B, ceil(S / 4), ceil(T / 4), C]."""
        return self.norm(super().construct(image.transpose(0, 2, 3, 1)))


class Downsample(ConvStack):
    """Halves the resolution between two stages.

    Args:
        dim: Channels C of the input tokens.
        out_dim: Channels of the output tokens.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__(
            convolution(dim, out_dim, 1, bias=False),
            depthwise(out_dim, stride=2, bias=False),
            convolution(out_dim, out_dim, 1, bias=False),
        )


class LocalPosition(nn.Cell):
    """Local positional term of every attention: a linear layer, then a depth-wise convolution.

    Args:
        dim: Channels C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = Linear(dim, dim)
        self.conv = depthwise(dim)

    def construct(self, x: Tensor) -> Tensor:
        """Compute the positional term of a map [B, H, W, C]; same shape."""
        return self.conv(self.linear(x))

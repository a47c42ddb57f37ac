"""The convolution layer of box, mask and segmentation heads."""

from __future__ import annotations

from torch import Tensor, nn


class ConvModule(nn.Module):
    """Convolution, optional BatchNorm, ReLU, with unchanged size. Parameters have OpenMMLab's names.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel, an odd number.
        norm: Whether to add BatchNorm; the convolution then has no bias.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, norm: bool = True) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, bias=not norm)
        self.bn = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        init_conv(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to a map [B, in_channels, H, W]; return [B, out_channels, H, W]."""
        return self.bn(self.conv(x)).relu()


def init_conv(conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Initialize a convolution: He's initialization by fan-out, zero bias."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)

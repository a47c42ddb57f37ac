"""The layer that box, mask and segmentation heads are built of."""

from __future__ import annotations

from torch import Tensor, nn


class ConvModule(nn.Module):
    """Convolution, optional BatchNorm, ReLU; size-preserving. Parameters are named as OpenMMLab names them.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: odd side of the kernel.
        norm: whether BatchNorm follows (the convolution then has no bias).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, norm: bool = True) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, bias=not norm)
        self.bn = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        init_conv(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, out_channels, H, W]."""
        return self.bn(self.conv(x)).relu()


def init_conv(conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """He's initialisation by fan-out, zero bias."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)

"""Box head: class and box offsets of a region."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from msgformer.config.dense_training_options import DetectOptions
from msgformer.heads.layers import ConvModule


class BoxHead(nn.Module):
    """Convolutions with BatchNorm, fully connected layers, then class logits and box offsets per class.

    Four convolutions and one layer make the "4conv1fc" head of the Cascade Mask R-CNN tables; no convolution and two
    layers make the head of Mask R-CNN and Faster R-CNN.

    Args:
        in_channels: Channels of the regions.
        num_classes: Number of object classes; the background is an additional, last class.
        num_convs: Number of 3 x 3 convolutions.
        num_fcs: Number of fully connected layers.
        conv_channels: Channels of the convolutions.
        fc_channels: Channels of the fully connected layers.
        roi_size: Side of the regions.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        num_convs: int = 4,
        num_fcs: int = 1,
        conv_channels: int = DetectOptions.channels,
        fc_channels: int = DetectOptions.fc_channels,
        roi_size: int = 7,
    ) -> None:
        super().__init__()
        widths = [in_channels] + [conv_channels] * num_convs
        self.shared_convs = nn.Sequential(*[ConvModule(a, b) for a, b in pairwise(widths)])
        fc_widths = [widths[-1] * roi_size**2] + [fc_channels] * num_fcs
        self.shared_fcs = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(fc_widths))
        self.fc_cls = nn.Linear(fc_channels, num_classes + 1)
        self.fc_reg = nn.Linear(fc_channels, num_classes * 4)
        self.init_weights()

    def init_weights(self) -> None:
        """Initialize shared layers by Xavier's method, and predictions by small normal values."""
        nn.init.normal_(self.fc_cls.weight, std=0.01)
        nn.init.normal_(self.fc_reg.weight, std=0.001)
        for layer in (self.fc_cls, self.fc_reg, *self.shared_fcs):
            nn.init.zeros_(layer.get_parameter("bias"))
        for layer in self.shared_fcs:
            nn.init.xavier_uniform_(layer.get_parameter("weight"))

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Classify and refine regions.

        Args:
            regions: Features of the regions [N, in_channels, roi_size, roi_size].

        Returns:
            Class logits [N, num_classes + 1], the background last, and box offsets [N, num_classes * 4].
        """
        x = self.shared_convs(regions).flatten(1)  # [N, C * roi_size^2]
        for layer in self.shared_fcs:
            x = layer(x).relu()
        return self.fc_cls(x), self.fc_reg(x)

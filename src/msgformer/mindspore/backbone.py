"""Base of both model families: from the outputs of a sequence of stages to logits."""

from __future__ import annotations

from mindspore import Tensor, nn

from msgformer.mindspore.layers import ClassifierHead
from msgformer.mindspore.window import Size, to_2tuple


class Backbone(nn.Cell):
    """A hierarchical vision transformer. A family defines `forward_stages` and `final_features`.

    Args:
        img_size: Intended height and width of images, or the side of a square.
        in_chans: Channels of the image.
        num_classes: Number of classes; 0 for none.
        embed_dims: Channels per stage.
        global_pool: Pooling before the classifier: 'avg', 'max', or '' for none.
        drop_rate: Dropout rate before the classifier.
    """

    def __init__(
        self,
        img_size: int | Size,
        in_chans: int,
        num_classes: int,
        embed_dims: list[int],
        global_pool: str,
        drop_rate: float,
    ) -> None:
        super().__init__()
        self.img_size: Size = to_2tuple(img_size)
        self.in_chans = in_chans
        self.num_classes = num_classes
        self.num_features = embed_dims[-1]
        self.head = ClassifierHead(self.num_features, num_classes, global_pool, drop_rate)

    def forward_features(self, x: Tensor) -> Tensor:
        """Compute the features that the classifier pools, [B, H, W, C], of images [B, 3, S, T]."""
        return self.final_features(self.forward_stages(x)[-1])

    def construct(self, x: Tensor) -> Tensor:
        """Classify images [B, 3, S, T]; return logits [B, classes]."""
        return self.head(self.forward_features(x))

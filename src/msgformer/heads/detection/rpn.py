"""Region proposal network: boxes that may contain an object."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork as TorchvisionRPN
from torchvision.models.detection.rpn import RPNHead

from msgformer.config.dense_training_options import DetectOptions
from msgformer.heads.detection.anchors import AnchorGenerator
from msgformer.heads.detection.box_coder import BoxCoder
from msgformer.heads.detection.matcher import Matcher

Targets = list[dict[str, Tensor]]
"""Ground truth, one dictionary per image, as in torchvision's detectors."""


class RegionProposalNetwork(TorchvisionRPN):
    """torchvision's network with the published assignment of anchors.

    Anchors are positive from IoU 0.7 and background below 0.3; the best anchors of a ground truth are positive from
    0.3. Anchors that cross the border of the unpadded image are not used in training.

    Args:
        channels: Channels of the pyramid's maps.
        anchors: The anchor generator.
        num_train: Proposals per level before NMS, and in total after it, in training.
        num_test: Proposals per level before NMS, and in total after it, in evaluation.
        num_samples: Sampled anchors per image for the losses, half of them positive if there are enough.
        nms_threshold: IoU above which the less probable of two proposals of one level is dropped.
    """

    def __init__(
        self,
        channels: int,
        anchors: AnchorGenerator | None = None,
        num_train: int = DetectOptions.train_proposals,
        num_test: int = DetectOptions.test_proposals,
        num_samples: int = 256,
        nms_threshold: float = 0.7,
    ) -> None:
        anchors = anchors or AnchorGenerator()
        limits = {"training": num_train, "testing": num_test}
        super().__init__(
            anchors,
            RPNHead(channels, anchors.num_anchors_per_location()[0]),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=num_samples,
            positive_fraction=0.5,
            pre_nms_top_n=limits,
            post_nms_top_n=limits,
            nms_thresh=nms_threshold,
        )
        self.box_coder = BoxCoder()
        self.proposal_matcher = Matcher(positive=0.7, negative=0.3, low_quality_iou=0.3)
        self.min_size = torch.finfo(torch.float32).tiny  # drop only boxes that are empty after clipping

    def forward(
        self, images: ImageList, features: dict[str, Tensor], targets: Targets | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Propose boxes.

        Args:
            images: The batch, with the size of each image before padding.
            features: Maps of the pyramid, [B, C, H, W], from the finest.
            targets: One dictionary per image with ``boxes`` [G, 4]; needed in training.

        Returns:
            Proposals per image, [N, 4], most probable first, and in training the losses ``loss_objectness`` [] and
            ``loss_rpn_box_reg`` [].
        """
        if targets is not None:
            sizes = [torch.tensor(size) for size in images.image_sizes]
            targets = [{**target, "size": size} for target, size in zip(targets, sizes, strict=True)]
        return super().forward(images, features, targets)

    def assign_targets_to_anchors(self, anchors: list[Tensor], targets: Targets) -> tuple[list[Tensor], list[Tensor]]:
        """Label the anchors that lie inside their image.

        Args:
            anchors: Anchors per image, [N, 4].
            targets: One dictionary per image with ``boxes`` [G, 4] and ``size`` (height, width) [2].

        Returns:
            Labels per image [N] (1 object, 0 background, -1 unused) and target boxes per image [N, 4].
        """
        inside = [_inside(boxes, target["size"].tolist()) for boxes, target in zip(anchors, targets, strict=True)]
        inner = [boxes[mask] for boxes, mask in zip(anchors, inside, strict=True)]
        inner_labels, inner_boxes = super().assign_targets_to_anchors(inner, targets)
        labels, matched = [], []
        for boxes, mask, label, box in zip(anchors, inside, inner_labels, inner_boxes, strict=True):
            labels.append(label.new_full((len(boxes),), -1).masked_scatter(mask, label))
            matched.append(boxes.masked_scatter(mask[:, None], box))
        return labels, matched

    def filter_proposals(
        self,
        proposals: Tensor,
        objectness: Tensor,
        image_shapes: list[tuple[int, int]],
        num_anchors_per_level: list[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Clip boxes, drop empty ones, and apply NMS; in the type of the boxes, because NMS needs a single type.

        Args:
            proposals: Decoded boxes, [B, N, 4].
            objectness: Logits of the boxes, [B * N].
            image_shapes: Height and width per image before padding.
            num_anchors_per_level: Number of anchors per level; their sum is N.

        Returns:
            Boxes [M, 4] per image and their probabilities [M], in descending order.
        """
        logits = objectness.to(proposals.dtype)
        return super().filter_proposals(proposals, logits, image_shapes, num_anchors_per_level)


def _inside(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Return a mask [N] of the boxes that lie inside an image (height, width), or of all boxes if none does."""
    height, width = size
    low, high = boxes[:, :2], boxes[:, 2:]
    inside = (low >= 0).all(1) & (high < high.new_tensor([width, height])).all(1)
    return inside | ~inside.any()  # so that images smaller than the smallest anchor can be trained on

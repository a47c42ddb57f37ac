"""The region proposal network: where in the image there may be an object."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork as TorchvisionRPN
from torchvision.models.detection.rpn import RPNHead

from msgformer.heads.detection.anchors import AnchorGenerator
from msgformer.heads.detection.box_coder import BoxCoder
from msgformer.heads.detection.matcher import Matcher

Targets = list[dict[str, Tensor]]
"""Ground truth, one dictionary an image, as torchvision's detectors take it."""


class RegionProposalNetwork(TorchvisionRPN):
    """torchvision's network with the published assignment of anchors.

    Positive from IoU 0.7 on, background below 0.3, the best anchors of a ground truth positive from 0.3 on; anchors
    that leave the (unpadded) image take no part in the training.

    Args:
        channels: of the pyramid's maps.
        anchors: the anchor generator.
        num_train: proposals per level before NMS, and in total after it, in training.
        num_test: the same in evaluation.
        num_samples: anchors sampled per image for the losses, half of them positive if there are enough.
        nms_threshold: IoU above which the weaker of two proposals of one level is dropped.
    """

    def __init__(
        self,
        channels: int,
        anchors: AnchorGenerator | None = None,
        num_train: int = 2000,
        num_test: int = 1000,
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
        self.min_size = torch.finfo(torch.float32).tiny  # drops what is empty after clipping, and nothing else

    def forward(
        self, images: ImageList, features: dict[str, Tensor], targets: Targets | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Propose boxes.

        Args:
            images: the batch, with each image's size before padding.
            features: maps of the pyramid, [B, C, H, W], from the finest on.
            targets: for each image a dictionary with ``boxes`` [G, 4]; needed in training.

        Returns:
            Proposals of each image, [N, 4], best first, and in training the losses ``loss_objectness`` and
            ``loss_rpn_box_reg``.
        """
        if targets is not None:
            sizes = [torch.tensor(size) for size in images.image_sizes]
            targets = [{**target, "size": size} for target, size in zip(targets, sizes, strict=True)]
        return super().forward(images, features, targets)

    def assign_targets_to_anchors(self, anchors: list[Tensor], targets: Targets) -> tuple[list[Tensor], list[Tensor]]:
        """Label the anchors that lie inside their image.

        Args:
            anchors: of each image, [N, 4].
            targets: of each image, with ``boxes`` [G, 4] and ``size`` (height, width).

        Returns:
            For each image labels [N] (1 object, 0 background, -1 unused) and the boxes aimed at [N, 4].
        """
        inside = [_inside(boxes, target["size"].tolist()) for boxes, target in zip(anchors, targets, strict=True)]
        kept = [boxes[mask] for boxes, mask in zip(anchors, inside, strict=True)]
        kept_labels, kept_boxes = super().assign_targets_to_anchors(kept, targets)
        labels, matched = [], []
        for boxes, mask, label, box in zip(anchors, inside, kept_labels, kept_boxes, strict=True):
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
        """Clip, drop empty boxes, suppress doubles; in the boxes' precision, since NMS takes no mixture.

        Args:
            proposals: decoded boxes, [B, N, 4].
            objectness: their logits, B * N values.
            image_shapes: height and width of each image before padding.
            num_anchors_per_level: how the N are distributed over the levels.

        Returns:
            For each image boxes [M, 4] and their probabilities [M], best first.
        """
        logits = objectness.to(proposals.dtype)
        return super().filter_proposals(proposals, logits, image_shapes, num_anchors_per_level)


def _inside(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Mask [N] of the boxes that lie inside an image of (height, width); of all, where none does."""
    height, width = size
    low, high = boxes[:, :2], boxes[:, 2:]
    inside = (low >= 0).all(1) & (high < high.new_tensor([width, height])).all(1)
    return inside | ~inside.any()  # an image smaller than the smallest anchor still trains

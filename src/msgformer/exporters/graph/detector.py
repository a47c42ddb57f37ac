"""Detectors in a form that can be captured as a graph: what they find fills lists of a fixed length.

The answers are the live model's. What differs is that nothing has a size that depends on the image's content:
proposals and detections are the best so many, and those that are missing are boxes of zeros with a score of zero.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image, roi_align

from msgformer.exporters.graph.nms import fixed_size_nms
from msgformer.exporters.graph.segmenter import GraphBackbone, pad_to_strides
from msgformer.heads import RCNN, RetinaNet
from msgformer.heads.detection.anchors import AnchorGenerator
from msgformer.heads.detection.cascade import CascadeRoIHeads, Sizes
from msgformer.heads.detection.detections import DetectionLimits
from msgformer.heads.detection.roi_extractor import RoIExtractor
from msgformer.heads.detection.rpn import RegionProposalNetwork
from msgformer.models.window import Size, row_and_column

NONE = -1.0
"""Score of what isn't there, below all probabilities."""


class GraphDetector(nn.Module):
    """A detector without its training, for one image.

    Args:
        slow: The detector; its parts are used, and changed.
        anchors: The detector's.

    Attributes:
        outputs: Names of what it gives, in order.
        feature_info: The strides of its maps, as timm's models have them.
    """

    def __init__(self, slow: Any, anchors: AnchorGenerator) -> None:
        super().__init__()
        self.outputs = output_names(slow)
        self.pyramid = slow.backbone
        self.pyramid.body = GraphBackbone(self.pyramid.body)
        self.feature_info = [{"reduction": stride} for stride in anchors.strides]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """A normalized image [1, 3, H, W] to what is found on it.

        Returns:
            Boxes [1, D, 4] in pixels, labels from 1 on [1, D], scores [1, D], best first, and where the detector has
            masks those within the boxes, [1, D, 28, 28]. Where the score is 0 there is nothing.
        """
        size = (images.shape[-2], images.shape[-1])
        found = self.detect(list(self.pyramid(pad_to_strides(images)).values()), size)
        return tuple(found[name].unsqueeze(0) for name in self.outputs)

    @abstractmethod
    def detect(self, maps: list[Tensor], size: Size) -> dict[str, Tensor]:
        """What is found in maps [1, C, H, W] of an image of ``size`` pixels: ``outputs`` by name."""


class GraphRCNN(GraphDetector):
    """`RCNN` for one image.

    Args:
        slow: The detector.
    """

    def __init__(self, slow: RCNN) -> None:
        super().__init__(slow, slow.rpn.anchor_generator)
        self.proposals = GraphProposals(slow.rpn)
        self.heads: Any = slow.roi_heads
        self.heads.__class__ = GraphRoIHeads
        for name in ("box_extractor", "mask_extractor"):
            extractor = getattr(self.heads, name)
            setattr(self.heads, name, GraphRoIExtractor(extractor.output_size, extractor.strides))

    def detect(self, maps: list[Tensor], size: Size) -> dict[str, Tensor]:
        """What is found in maps [1, C, H, W]."""
        (found,) = self.heads.detect(maps, [self.proposals(maps, size)], [size])
        return found


class GraphRetinaNet(GraphDetector):
    """`RetinaNet` for one image.

    Args:
        slow: The detector.
    """

    def __init__(self, slow: RetinaNet) -> None:
        super().__init__(slow, slow.anchor_generator)
        self.anchors = GraphAnchors(slow.anchor_generator)
        self.head, self.coder = slow.head, slow.box_coder
        self.num_classes, self.count = slow.num_classes, slow.topk_candidates
        self.limits = DetectionLimits(slow.score_thresh, slow.nms_thresh, slow.detections_per_img)

    def detect(self, maps: list[Tensor], size: Size) -> dict[str, Tensor]:
        """What is found in maps [1, C, H, W]."""
        levels = [self._level(*level, size) for level in zip(maps, self.anchors(maps), strict=True)]
        boxes, labels, scores = (torch.cat(parts) for parts in zip(*levels, strict=True))
        classes = torch.arange(self.num_classes, device=boxes.device).unsqueeze(1)
        by_class = torch.where(labels == classes, scores, NONE)  # [K, N]
        found = best_detections(boxes.unsqueeze(0), by_class.unsqueeze(0), self.limits)
        return {**found, "labels": found["labels"] + 1}

    def _level(self, x: Tensor, anchors: Tensor, size: Size) -> tuple[Tensor, Tensor, Tensor]:
        """The best boxes [N, 4] of a level, their labels from 0 on [N], and scores [N]."""
        answer = self.head([x])
        scores = answer["cls_logits"][0].sigmoid().flatten()  # [anchors * K]
        scores, place = padded_topk(torch.where(scores > self.limits.score_threshold, scores, NONE), self.count)
        anchor = place // self.num_classes
        boxes = self.coder.decode_single(answer["bbox_regression"][0][anchor], anchors[anchor])
        return clip_boxes_to_image(boxes, size), place % self.num_classes, scores


class GraphAnchors(nn.Module):
    """`AnchorGenerator` for one image.

    Args:
        slow: The generator.
    """

    def __init__(self, slow: AnchorGenerator) -> None:
        super().__init__()
        self.strides = slow.strides
        slow.set_cell_anchors(torch.float32, torch.device("cpu"))
        for level, cell in enumerate(slow.cell_anchors):
            self.register_buffer(f"cell{level}", cell)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Boxes [H * W * anchors a position, 4] of each map [1, C, H, W]."""
        return [self._level(x, stride, level) for level, (x, stride) in enumerate(zip(maps, self.strides, strict=True))]

    def _level(self, x: Tensor, stride: int, level: int) -> Tensor:
        height, width = x.shape[-2:]
        row, col = (place * stride for place in row_and_column(torch.arange(height * width, device=x.device), width))
        shifts = torch.stack([col, row, col, row], dim=1).float()
        return (shifts.unsqueeze(1) + self.get_buffer(f"cell{level}")).flatten(0, 1)


class GraphProposals(nn.Module):
    """`RegionProposalNetwork` for one image.

    Args:
        slow: The network, in evaluation mode.
    """

    def __init__(self, slow: RegionProposalNetwork) -> None:
        super().__init__()
        self.head, self.coder = slow.head, slow.box_coder
        self.anchors = GraphAnchors(slow.anchor_generator)
        self.before, self.after, self.overlap = slow.pre_nms_top_n(), slow.post_nms_top_n(), slow.nms_thresh

    def forward(self, maps: list[Tensor], size: Size) -> Tensor:
        """Boxes [N, 4], best first, and zeros where there are no more, of maps [1, C, H, W]."""
        logits, offsets = self.head(maps)
        levels = [self._level(*level, size) for level in zip(logits, offsets, self.anchors(maps), strict=True)]
        boxes, scores = (torch.stack(parts) for parts in zip(*levels, strict=True))  # [L, N, 4], [L, N]
        left = fixed_size_nms(boxes, scores.unsqueeze(1), self.after, self.overlap, NONE / 2).squeeze(1)
        best, place = torch.where(left, scores, NONE).flatten().topk(self.after)
        return torch.where((best > NONE).unsqueeze(1), boxes.flatten(0, 1)[place], 0.0)

    def _level(self, logits: Tensor, offsets: Tensor, anchors: Tensor, size: Size) -> tuple[Tensor, Tensor]:
        """The best boxes [N, 4] of a level and their scores [N]."""
        best, place = padded_topk(flatten_per_anchor(logits, 1)[:, 0], self.before)
        boxes = clip_boxes_to_image(
            self.coder.decode_single(flatten_per_anchor(offsets, 4)[place], anchors[place]), size
        )
        there = (boxes[:, 2:] > boxes[:, :2]).all(1) & (best > -torch.inf)
        return boxes, torch.where(there, best.sigmoid(), NONE)


class GraphRoIHeads(CascadeRoIHeads):
    """`CascadeRoIHeads` for one image, whose proposals are filled up with zeros."""

    def _select(self, scores: Tensor, deltas: Tensor, proposals: list[Tensor], sizes: Sizes) -> list[dict[str, Tensor]]:
        (boxes,) = self.refine(len(self.stages) - 1, proposals, deltas, sizes)
        there = (proposals[0][:, 2:] > proposals[0][:, :2]).all(1, keepdim=True)
        by_class = torch.where(there, scores, NONE).T.unsqueeze(1)  # [K, 1, N]
        return [best_detections(boxes.unflatten(1, (-1, 4)).transpose(0, 1), by_class, self.limits)]


class GraphRoIExtractor(RoIExtractor):
    """`RoIExtractor` with outputs of one size: each level cuts out all regions, those of other levels without area."""

    def forward(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Regions [N, 5] of maps [1, C, H, W] to [N, C, output_size, output_size]."""
        levels = self.levels(rois).unsqueeze(1)
        regions = torch.zeros((), device=rois.device)
        for level, (feature, stride) in enumerate(zip(features, self.strides, strict=False)):
            own = levels == level
            cut = roi_align(feature, torch.where(own, rois, 0.0), self.output_size, 1 / stride, 0, aligned=True)
            regions = torch.where(own[..., None, None], cut, regions)
        return regions


def output_names(detector: RCNN | RetinaNet) -> tuple[str, ...]:
    """What a detector says of objects: the outputs of its graph, in order."""
    return ("boxes", "labels", "scores", *(("masks",) if detector.with_masks else ()))


def padded_topk(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best of values [N] and their places, both [count], best first; where N is less, -inf and 0 at the end."""
    filled = torch.cat([values, values.new_full((count,), -torch.inf)])  # as many as there are at the least size, too
    best, place = filled.topk(count)
    return best, torch.where(best > -torch.inf, place, 0)


def flatten_per_anchor(x: Tensor, count: int) -> Tensor:
    """What a head says about anchors, [1, anchors a position * count, H, W], in their order, [anchors, count]."""
    return x[0].flatten(1).T.reshape(-1, count)


def best_detections(boxes: Tensor, scores: Tensor, limits: DetectionLimits) -> dict[str, Tensor]:
    """`select_detections` with an outcome of fixed length.

    Args:
        boxes: Of each class, [K, N, 4], or of all of them, [1, N, 4].
        scores: Of each class, [K, 1, N], or [1, K, N].
        limits: What to keep.

    Returns:
        ``boxes`` [D, 4], ``labels`` [D] from 0 on and ``scores`` [D], best first, zeros at the end.
    """
    number = boxes.shape[1]
    left = fixed_size_nms(boxes, scores, limits.per_image, limits.nms_threshold, limits.score_threshold)
    chances = torch.where(left, scores, 0.0).flatten()
    best, place = chances.topk(min(limits.per_image, len(chances)))
    found = boxes.flatten(0, 1)[place % (len(boxes) * number)]
    return {"boxes": found * (best > 0).unsqueeze(1), "labels": place // number, "scores": best}

"""Detectors that can be captured as a graph, with outputs of a fixed length.

The results are those of the original model, but no tensor has a size that depends on the content of the image: there
is a fixed number of proposals and detections, and missing ones are boxes of zeros with a score of zero.
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
"""Score of missing boxes, below all probabilities."""


class GraphDetector(nn.Module):
    """Base class of detectors for inference on one image.

    Args:
        original: The original detector; its modules are reused and modified.
        anchors: Anchor generator of the detector.

    Attributes:
        outputs: Names of the outputs, in order.
        feature_info: Strides of the feature maps, as timm's models provide them.
    """

    def __init__(self, original: Any, anchors: AnchorGenerator) -> None:
        super().__init__()
        self.outputs = output_names(original)
        self.pyramid = original.backbone
        self.pyramid.body = GraphBackbone(self.pyramid.body)
        self.feature_info = [{"reduction": stride} for stride in anchors.strides]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Detect objects.

        Args:
            images: A normalized image [1, 3, H, W].

        Returns:
            Boxes in pixels [1, D, 4], labels starting at 1 [1, D], scores in descending order [1, D], and, if the
            detector predicts masks, masks within the boxes [1, D, 28, 28]. Entries with score 0 are empty.
        """
        size = (images.shape[-2], images.shape[-1])
        found = self.detect(list(self.pyramid(pad_to_strides(images)).values()), size)
        return tuple(found[name].unsqueeze(0) for name in self.outputs)

    @abstractmethod
    def detect(self, maps: list[Tensor], size: Size) -> dict[str, Tensor]:
        """Detect objects on feature maps.

        Args:
            maps: Feature maps [1, C, h, w].
            size: Height and width of the image in pixels.

        Returns:
            The outputs by name, without the batch dimension.
        """


class GraphRCNN(GraphDetector):
    """`RCNN` for one image.

    Args:
        original: The detector.
    """

    def __init__(self, original: RCNN) -> None:
        super().__init__(original, original.rpn.anchor_generator)
        self.proposals = GraphProposals(original.rpn)
        self.heads: Any = original.roi_heads
        self.heads.__class__ = GraphRoIHeads
        for name in ("box_extractor", "mask_extractor"):
            extractor = getattr(self.heads, name)
            setattr(self.heads, name, GraphRoIExtractor(extractor.output_size, extractor.strides))

    def detect(self, maps: list[Tensor], size: Size) -> dict[str, Tensor]:
        """Detect objects on feature maps, see `GraphDetector.detect`.

        Args:
            maps: Feature maps [1, C, h, w].
            size: Height and width of the image in pixels.
        """
        found: dict[str, Tensor]
        (found,) = self.heads.detect(maps, [self.proposals(maps, size)], [size])
        return found


class GraphRetinaNet(GraphDetector):
    """`RetinaNet` for one image.

    Args:
        original: The detector.
    """

    def __init__(self, original: RetinaNet) -> None:
        super().__init__(original, original.anchor_generator)
        self.anchors = GraphAnchors(original.anchor_generator)
        self.head, self.coder = original.head, original.box_coder
        self.num_classes, self.topk_candidates = original.num_classes, original.topk_candidates
        self.limits = DetectionLimits(original.score_thresh, original.nms_thresh, original.detections_per_img)

    def detect(self, maps: list[Tensor], size: Size) -> dict[str, Tensor]:
        """Detect objects on feature maps, see `GraphDetector.detect`.

        Args:
            maps: Feature maps [1, C, h, w].
            size: Height and width of the image in pixels.
        """
        levels = [self._level(*level, size) for level in zip(maps, self.anchors(maps), strict=True)]
        boxes, labels, scores = (torch.cat(parts) for parts in zip(*levels, strict=True))
        classes = torch.arange(self.num_classes, device=boxes.device).unsqueeze(1)
        by_class = torch.where(labels == classes, scores, NONE)  # [K, N]
        found = best_detections(boxes.unsqueeze(0), by_class.unsqueeze(0), self.limits)
        return {**found, "labels": found["labels"] + 1}

    def _level(self, x: Tensor, anchors: Tensor, size: Size) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best boxes [N, 4] of a level, their labels starting at 0 [N], and scores [N]."""
        outputs = self.head([x])
        scores = outputs["cls_logits"][0].sigmoid().flatten()  # [anchors * K]
        scores = torch.where(scores > self.limits.score_threshold, scores, NONE)
        scores, index = padded_topk(scores, self.topk_candidates)
        anchor = index // self.num_classes
        boxes = self.coder.decode_single(outputs["bbox_regression"][0][anchor], anchors[anchor])
        return clip_boxes_to_image(boxes, size), index % self.num_classes, scores


class GraphAnchors(nn.Module):
    """`AnchorGenerator` for one image.

    Args:
        original: The generator.
    """

    def __init__(self, original: AnchorGenerator) -> None:
        super().__init__()
        self.strides = original.strides
        original.set_cell_anchors(torch.float32, torch.device("cpu"))
        for level, cell in enumerate(original.cell_anchors):
            self.register_buffer(f"cell{level}", cell)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the anchor boxes [h * w * anchors per position, 4] of each feature map [1, C, h, w]."""
        return [self._level(x, stride, level) for level, (x, stride) in enumerate(zip(maps, self.strides, strict=True))]

    def _level(self, x: Tensor, stride: int, level: int) -> Tensor:
        height, width = x.shape[-2:]
        row, col = (index * stride for index in row_and_column(torch.arange(height * width, device=x.device), width))
        shifts = torch.stack([col, row, col, row], dim=1).float()
        return (shifts.unsqueeze(1) + self.get_buffer(f"cell{level}")).flatten(0, 1)


class GraphProposals(nn.Module):
    """`RegionProposalNetwork` for one image.

    Args:
        original: The network, in evaluation mode.
    """

    def __init__(self, original: RegionProposalNetwork) -> None:
        super().__init__()
        self.head, self.coder = original.head, original.box_coder
        self.anchors = GraphAnchors(original.anchor_generator)
        self.pre_nms_top_n, self.post_nms_top_n = original.pre_nms_top_n(), original.post_nms_top_n()
        self.nms_thresh = original.nms_thresh

    def forward(self, maps: list[Tensor], size: Size) -> Tensor:
        """Propose regions.

        Args:
            maps: Feature maps [1, C, h, w].
            size: Height and width of the image in pixels.

        Returns:
            Boxes [N, 4], best first, padded with zeros.
        """
        logits, offsets = self.head(maps)
        levels = [self._level(*level, size) for level in zip(logits, offsets, self.anchors(maps), strict=True)]
        boxes, scores = (torch.stack(parts) for parts in zip(*levels, strict=True))  # [L, N, 4], [L, N]
        remain = fixed_size_nms(boxes, scores.unsqueeze(1), self.post_nms_top_n, self.nms_thresh, NONE / 2).squeeze(1)
        best, index = torch.where(remain, scores, NONE).flatten().topk(self.post_nms_top_n)
        return torch.where((best > NONE).unsqueeze(1), boxes.flatten(0, 1)[index], 0.0)

    def _level(self, logits: Tensor, offsets: Tensor, anchors: Tensor, size: Size) -> tuple[Tensor, Tensor]:
        """Return the best boxes [N, 4] of a level and their scores [N]."""
        best, index = padded_topk(flatten_per_anchor(logits, 1)[:, 0], self.pre_nms_top_n)
        boxes = clip_boxes_to_image(
            self.coder.decode_single(flatten_per_anchor(offsets, 4)[index], anchors[index]), size
        )
        is_valid = (boxes[:, 2:] > boxes[:, :2]).all(1) & (best > -torch.inf)
        return boxes, torch.where(is_valid, best.sigmoid(), NONE)


class GraphRoIHeads(CascadeRoIHeads):
    """`CascadeRoIHeads` for one image, with proposals padded by zeros."""

    def _select(self, scores: Tensor, deltas: Tensor, proposals: list[Tensor], sizes: Sizes) -> list[dict[str, Tensor]]:
        (boxes,) = self.refine(len(self.stages) - 1, proposals, deltas, sizes)
        is_box = (proposals[0][:, 2:] > proposals[0][:, :2]).all(1, keepdim=True)
        by_class = torch.where(is_box, scores, NONE).T.unsqueeze(1)  # [K, 1, N]
        return [best_detections(boxes.unflatten(1, (-1, 4)).transpose(0, 1), by_class, self.limits)]


class GraphRoIExtractor(RoIExtractor):
    """`RoIExtractor` with a fixed output size: every level extracts all regions, with those of other levels emptied."""

    def forward(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Extract the features of regions.

        Args:
            features: Feature maps [1, C, h, w].
            rois: Image index and box of each region [N, 5].

        Returns:
            Features [N, C, output_size, output_size].
        """
        levels = self.levels(rois).unsqueeze(1)
        regions = torch.zeros((), device=rois.device)
        for level, (feature, stride) in enumerate(zip(features, self.strides, strict=False)):
            on_level = levels == level
            level_rois = torch.where(on_level, rois, 0.0)
            extracted = roi_align(feature, level_rois, self.output_size, 1 / stride, 0, aligned=True)
            regions = torch.where(on_level[..., None, None], extracted, regions)
        return regions


def output_names(detector: RCNN | RetinaNet) -> tuple[str, ...]:
    """Return the names of the outputs of a detector's graph, in order."""
    return ("boxes", "labels", "scores", *(("masks",) if detector.with_masks else ()))


def padded_topk(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest values and their indices; if there are too few, pad with -inf and 0.

    Args:
        values: Values [N].
        count: Number of values to return.

    Returns:
        Values [count] in descending order, and their indices [count].
    """
    filled = torch.cat([values, values.new_full((count,), -torch.inf)])  # enough values at every input size
    best, index = filled.topk(count)
    return best, torch.where(best > -torch.inf, index, 0)


def flatten_per_anchor(x: Tensor, count: int) -> Tensor:
    """Rearrange the output of a head to one row per anchor, in the order of the anchors.

    Args:
        x: Output [1, anchors per position * count, h, w].
        count: Number of values per anchor.

    Returns:
        Values [anchors, count].
    """
    return x[0].flatten(1).T.reshape(-1, count)


def best_detections(boxes: Tensor, scores: Tensor, limits: DetectionLimits) -> dict[str, Tensor]:
    """Select detections like `select_detections`, with results of a fixed length.

    Args:
        boxes: Boxes per class [K, N, 4], or common to all classes [1, N, 4].
        scores: Scores per class [K, 1, N], or [1, K, N] for common boxes.
        limits: Thresholds and the maximum number of detections D.

    Returns:
        ``boxes`` [D, 4], ``labels`` [D] starting at 0, and ``scores`` [D], best first, padded with zeros.
    """
    number = boxes.shape[1]
    remain = fixed_size_nms(boxes, scores, limits.per_image, limits.nms_threshold, limits.score_threshold)
    remaining = torch.where(remain, scores, 0.0).flatten()
    best, index = remaining.topk(min(limits.per_image, len(remaining)))
    found = boxes.flatten(0, 1)[index % (len(boxes) * number)]
    return {"boxes": found * (best > 0).unsqueeze(1), "labels": index // number, "scores": best}

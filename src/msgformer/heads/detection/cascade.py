"""Box and mask heads on regions: one stage (Mask R-CNN), or several of increasing quality (Cascade R-CNN)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from msgformer.config.dense_training_options import DetectOptions
from msgformer.heads.detection.box_coder import BoxCoder
from msgformer.heads.detection.box_head import BoxHead
from msgformer.heads.detection.detections import DetectionLimits, select_detections
from msgformer.heads.detection.mask_head import MaskHead
from msgformer.heads.detection.matcher import Matcher
from msgformer.heads.detection.roi_extractor import RoIExtractor, boxes_to_rois
from msgformer.heads.detection.roi_losses import BOX_LOSSES, mask_loss, mask_targets, select_class
from msgformer.heads.detection.roi_sampling import RoISampler, SampledRoIs
from msgformer.heads.detection.rpn import Targets

Sizes = Sequence[tuple[int, int]]
"""Height and width per image before padding."""


@dataclass(frozen=True)
class StageSetting:
    """Training settings of one stage.

    Attributes:
        iou: Minimum overlap of a positive region with ground truth.
        stds: Standard deviations of the box offsets.
        loss_weight: Weight of the stage's losses.
        low_quality: Whether the best region of a ground truth is positive even if another region overlaps it more.
    """

    iou: float = 0.5
    stds: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    loss_weight: float = 1.0
    low_quality: bool = False


CASCADE = (
    StageSetting(0.5, (0.1, 0.1, 0.2, 0.2), 1.0),
    StageSetting(0.6, (0.05, 0.05, 0.1, 0.1), 0.5),
    StageSetting(0.7, (0.033, 0.033, 0.067, 0.067), 0.25),
)
"""The three stages of the published Cascade (Mask) R-CNN."""


class CascadeRoIHeads(nn.Module):
    """Stages that classify and refine the boxes of the previous stage (Cascade R-CNN, section 4).

    Inside, classes count from 0 and the background is last; outside, as in torchvision, classes count from 1.

    Args:
        box_heads: One box head per stage.
        mask_heads: One mask head per stage, or none for a detector without masks.
        stages: Training settings per stage.
        num_classes: Number of object classes.
        box_loss: ``"giou"`` on decoded boxes or ``"l1"`` on offsets.
        num_samples: Number of sampled regions per image and stage; at most a quarter of them are positive.
        limits: Limits of the returned detections.
    """

    def __init__(
        self,
        box_heads: Sequence[BoxHead],
        mask_heads: Sequence[MaskHead],
        stages: Sequence[StageSetting],
        num_classes: int,
        box_loss: str = "giou",
        num_samples: int = DetectOptions.rois_per_image,
        limits: DetectionLimits | None = None,
    ) -> None:
        super().__init__()
        self.bbox_head = nn.ModuleList(box_heads)
        self.mask_head = nn.ModuleList(mask_heads)
        self.box_extractor = RoIExtractor(7)
        self.mask_extractor = RoIExtractor(14)
        self.stages = tuple(stages)
        self.coders = [BoxCoder(stage.stds) for stage in stages]
        matchers = [Matcher(stage.iou, stage.iou, stage.iou if stage.low_quality else None) for stage in stages]
        self.samplers = [RoISampler(matcher, num_classes, num_samples) for matcher in matchers]
        self.box_loss = BOX_LOSSES[box_loss]
        self.num_classes = num_classes
        self.limits = limits or DetectionLimits()

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: Targets | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Compute losses in training, and detections otherwise.

        Args:
            features: Maps of the pyramid, [B, C, H, W], of strides 4, 8, 16, 32 and more.
            proposals: Boxes per image, [N, 4].
            image_shapes: Height and width per image before padding.
            targets: Ground truth per image: ``boxes`` [G, 4], ``labels`` [G] from 1 and, for masks, ``masks`` [G, h,
                w].

        Returns:
            Detections (none in training): ``boxes`` [D, 4], ``labels`` [D] from 1, ``scores`` [D] and, with mask heads,
            ``masks`` [D, 28, 28] (probabilities within the box); and losses (none in evaluation).
        """
        maps = list(features.values())
        if torch.is_autocast_enabled(maps[0].device.type):
            maps = [x.float() for x in maps]  # RoIAlign samples in float32; convert once
        if self.training:
            if targets is None:
                raise ValueError("targets are needed in training")
            return [], self.losses(maps, proposals, image_shapes, targets)
        return self.detect(maps, proposals, image_shapes), {}

    def losses(
        self, features: list[Tensor], proposals: list[Tensor], sizes: Sizes, targets: Targets
    ) -> dict[str, Tensor]:
        """Compute the weighted losses of all stages; each stage trains on the refined boxes of the previous one.

        Args:
            features: Maps of the pyramid, [B, C, H, W] each.
            proposals: Boxes per image, [N, 4].
            sizes: Height and width per image before padding.
            targets: Ground truth per image, see `forward`.

        Returns:
            Losses by name, [] each.
        """
        losses: dict[str, Tensor] = {}
        for index, stage in enumerate(self.stages):
            samples = self.sample(index, proposals, targets)
            logits, deltas = self.predict_boxes(index, features, [sample.boxes for sample in samples])
            stage_losses = self.box_losses(index, logits, deltas, samples, targets)
            if self.mask_head:
                stage_losses["loss_mask"] = self.mask_losses(index, features, samples, targets)
            suffix = f"_{index + 1}" if len(self.stages) > 1 else ""
            losses |= {name + suffix: loss * stage.loss_weight for name, loss in stage_losses.items()}
            if index + 1 < len(self.stages):
                proposals = self.refine_samples(index, logits, deltas, samples, sizes)
        return losses

    def detect(self, features: list[Tensor], proposals: list[Tensor], sizes: Sizes) -> list[dict[str, Tensor]]:
        """Detect objects: logits are averaged over the stages, boxes are those of the last stage, masks are averaged.

        Args:
            features: Maps of the pyramid, [B, C, H, W] each.
            proposals: Boxes per image, [N, 4].
            sizes: Height and width per image before padding.

        Returns:
            Detections per image: ``boxes`` [D, 4], ``labels`` [D], ``scores`` [D] and, with mask heads, ``masks`` [D,
            28, 28].
        """
        all_logits = []
        for index in range(len(self.stages)):
            logits, deltas = self.predict_boxes(index, features, proposals)
            all_logits.append(logits.float())
            if index + 1 < len(self.stages):
                best = logits[:, :-1].argmax(dim=1)
                proposals = self.refine(index, proposals, select_class(deltas, best), sizes)
        scores = torch.stack(all_logits).mean(dim=0).softmax(dim=1)[:, :-1]
        detections = self._select(scores, deltas, proposals, sizes)
        if self.mask_head:
            self._add_masks(features, detections)
        return [{**detection, "labels": detection["labels"] + 1} for detection in detections]

    def predict_boxes(self, index: int, features: list[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Predict classes and offsets for the boxes of all images.

        Args:
            index: Index of the stage.
            features: Maps of the pyramid, [B, C, H, W] each.
            boxes: Boxes per image, [N, 4].

        Returns:
            Class logits [sum N, K + 1] and offsets [sum N, K * 4].
        """
        return self.bbox_head[index](self.box_extractor(features, boxes_to_rois(boxes)))

    def predict_masks(self, features: list[Tensor], boxes: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Predict the masks of labeled boxes, averaged over the stages.

        Args:
            features: Maps of the pyramid, [B, C, H, W] each.
            boxes: Boxes per image, [N, 4].
            labels: Class of each box of all images, [sum N].

        Returns:
            Mask probabilities [sum N, 28, 28].
        """
        regions = self.mask_extractor(features, boxes_to_rois(boxes))
        rows = torch.arange(len(labels), device=labels.device)
        masks = [head(regions)[rows, labels].float().sigmoid() for head in self.mask_head]
        return torch.stack(masks).mean(dim=0)

    def box_losses(
        self,
        index: int,
        logits: Tensor,
        deltas: Tensor,
        samples: list[SampledRoIs],
        targets: Targets,
    ) -> dict[str, Tensor]:
        """Compute cross entropy over all regions, and the box loss over positives per region.

        Args:
            index: Index of the stage.
            logits: Class logits of the samples, [S, K + 1].
            deltas: Predicted offsets of the samples, [S, K * 4].
            samples: Sampled regions per image.
            targets: Ground truth per image, see `forward`.

        Returns:
            ``loss_classifier`` [] and ``loss_box_reg`` [].
        """
        labels = torch.cat([sample.labels for sample in samples])
        rois = torch.cat([sample.boxes for sample in samples])
        truth = torch.cat([target["boxes"][sample.matched] for sample, target in zip(samples, targets, strict=True)])
        positive = labels < self.num_classes
        own = select_class(deltas[positive], labels[positive])
        box_loss = self.box_loss(own, rois[positive], truth, self.coders[index]) / max(len(labels), 1)
        return {"loss_classifier": F.cross_entropy(logits, labels), "loss_box_reg": box_loss}

    def mask_losses(self, index: int, features: list[Tensor], samples: list[SampledRoIs], targets: Targets) -> Tensor:
        """Compute binary cross entropy on the masks of the positives.

        Args:
            index: Index of the stage.
            features: Maps of the pyramid, [B, C, H, W] each.
            samples: Sampled regions per image.
            targets: Ground truth per image, see `forward`.

        Returns:
            The loss [].
        """
        boxes = [sample.boxes[: len(sample.matched)] for sample in samples]
        labels = torch.cat([sample.labels[: len(sample.matched)] for sample in samples])
        logits = self.mask_head[index](self.mask_extractor(features, boxes_to_rois(boxes)))
        padded = [side * self.mask_extractor.strides[0] for side in features[0].shape[-2:]]
        truth = [
            mask_targets(_pad(target["masks"], padded), sample.matched, box, logits.shape[-1])
            for target, sample, box in zip(targets, samples, boxes, strict=True)
        ]
        return mask_loss(logits, torch.cat(truth), labels)

    @torch.no_grad()
    def refine_samples(
        self, index: int, logits: Tensor, deltas: Tensor, samples: list[SampledRoIs], sizes: Sizes
    ) -> list[Tensor]:
        """Compute the boxes of the next stage; ground-truth boxes are removed.

        Positives are refined by the offsets of their class, background regions by those of their most probable class.

        Args:
            index: Index of the stage.
            logits: Class logits of the samples, [S, K + 1].
            deltas: Predicted offsets of the samples, [S, K * 4].
            samples: Sampled regions per image.
            sizes: Height and width per image before padding.

        Returns:
            Boxes per image, [N, 4].
        """
        labels = torch.cat([sample.labels for sample in samples])
        labels = torch.where(labels < self.num_classes, labels, logits[:, :-1].argmax(dim=1))
        boxes = self.refine(index, [sample.boxes for sample in samples], select_class(deltas, labels), sizes)
        return [box[~sample.is_truth] for box, sample in zip(boxes, samples, strict=True)]

    def sample(self, index: int, proposals: list[Tensor], targets: Targets) -> list[SampledRoIs]:
        """Sample the training regions of a stage.

        Args:
            index: Index of the stage.
            proposals: Boxes per image, [N, 4].
            targets: Ground truth per image: ``boxes`` [G, 4], ``labels`` [G].

        Returns:
            Sampled regions per image.
        """
        sampler = self.samplers[index]
        return [
            sampler(boxes, target["boxes"], target["labels"] - 1)
            for boxes, target in zip(proposals, targets, strict=True)
        ]

    def refine(self, index: int, boxes: Sequence[Tensor], deltas: Tensor, sizes: Sizes) -> list[Tensor]:
        """Apply offsets to the boxes of each image and clip them to the image.

        Args:
            index: Index of the stage.
            boxes: Boxes per image, [N, 4].
            deltas: Offsets of all images, [sum N, 4 or K * 4].
            sizes: Height and width per image before padding.

        Returns:
            Boxes per image, [N, 4 or K * 4].
        """
        parts = deltas.split([len(box) for box in boxes])
        moved = [self.coders[index].decode_single(part, box) for part, box in zip(parts, boxes, strict=True)]
        return [
            clip_boxes_to_image(box.reshape(-1, 4), size).reshape(box.shape)
            for box, size in zip(moved, sizes, strict=True)
        ]

    def _select(self, scores: Tensor, deltas: Tensor, proposals: list[Tensor], sizes: Sizes) -> list[dict[str, Tensor]]:
        boxes = self.refine(len(self.stages) - 1, proposals, deltas, sizes)
        parts = scores.split([len(box) for box in boxes])
        return [select_detections(part, box, self.limits) for part, box in zip(parts, boxes, strict=True)]

    def _add_masks(self, features: list[Tensor], detections: list[dict[str, Tensor]]) -> None:
        boxes = [detection["boxes"] for detection in detections]
        labels = torch.cat([detection["labels"] for detection in detections])
        masks = self.predict_masks(features, boxes, labels).split([len(box) for box in boxes])
        for detection, mask in zip(detections, masks, strict=True):
            detection["masks"] = mask


def _pad(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Pad masks [G, h, w] with zeros on the right and bottom to [G, height, width]."""
    return F.pad(masks, (0, size[1] - masks.shape[-1], 0, size[0] - masks.shape[-2]))

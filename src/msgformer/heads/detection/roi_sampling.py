"""Sampling of the regions on which a stage of the box and mask heads is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.ops import box_iou

from msgformer.config.dense_training_options import DetectOptions
from msgformer.heads.detection.matcher import Matcher


@dataclass(frozen=True)
class SampledRoIs:
    """Regions of one image: positives (ground truth, then proposals), then background.

    Attributes:
        boxes: Boxes [S, 4].
        labels: Class of each region from 0 to num_classes - 1, or num_classes for the background, [S].
        matched: Index of the ground truth of each positive, [P].
        is_truth: Whether a region is a ground-truth box itself, [S].
    """

    boxes: Tensor
    labels: Tensor
    matched: Tensor
    is_truth: Tensor


class RoISampler:
    """Matches proposals with ground truth and samples a fixed number of them.

    Ground-truth boxes are added to the proposals, each matched with itself, so that a stage has positives from the
    first step.

    Args:
        matcher: Assignment of proposals to ground truth.
        num_classes: Number of object classes; also the label of the background.
        num_samples: Number of regions per image.
        positive_fraction: Maximum fraction of positives.
    """

    def __init__(
        self,
        matcher: Matcher,
        num_classes: int,
        num_samples: int = DetectOptions.rois_per_image,
        positive_fraction: float = 0.25,
    ) -> None:
        self.matcher = matcher
        self.num_classes = num_classes
        # torchvision's region proposal network uses it, too; there is no public sampler.
        self.choose = BalancedPositiveNegativeSampler(num_samples, positive_fraction)

    def __call__(self, proposals: Tensor, truth: Tensor, classes: Tensor) -> SampledRoIs:
        """Sample regions of one image.

        Args:
            proposals: Boxes [N, 4].
            truth: Ground-truth boxes, [G, 4].
            classes: Their classes from 0, [G].

        Returns:
            The sampled regions.
        """
        own = torch.arange(len(truth), device=truth.device)
        matches = torch.cat([own, self._match(proposals, truth)])
        boxes = torch.cat([truth, proposals])
        # For the sampler, values from 1 are positive and 0 is background.
        (positive,), (negative,) = self.choose([matches + 1])
        chosen = torch.cat([positive.nonzero()[:, 0], negative.nonzero()[:, 0]])
        matched = matches[positive.nonzero()[:, 0]]
        labels = torch.full_like(chosen, self.num_classes)
        labels[: len(matched)] = classes[matched]
        return SampledRoIs(boxes[chosen], labels, matched, chosen < len(truth))

    def _match(self, proposals: Tensor, truth: Tensor) -> Tensor:
        """Return the index of the ground truth for each proposal, or -1: [N]."""
        if not len(truth):
            return torch.full((len(proposals),), Matcher.BELOW_LOW_THRESHOLD, device=proposals.device)
        return self.matcher(box_iou(truth, proposals))

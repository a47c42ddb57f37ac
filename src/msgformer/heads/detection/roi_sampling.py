"""Choice of the regions that a stage of the box and mask heads is trained on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.ops import box_iou

from msgformer.heads.detection.matcher import Matcher


@dataclass(frozen=True)
class SampledRoIs:
    """Regions of one image, positives first (ground truth itself, then proposals), then background.

    Attributes:
        boxes: the regions, [S, 4].
        labels: class of each, 0 to num_classes - 1, or num_classes for the background, [S].
        matched: index of the ground truth of each positive, [P].
        is_truth: whether a region is a ground-truth box itself, [S].
    """

    boxes: Tensor
    labels: Tensor
    matched: Tensor
    is_truth: Tensor


class RoISampler:
    """Matches proposals with ground truth and samples a fixed number of them.

    Ground-truth boxes are added to the proposals, each matched with itself, so that a stage sees positives from the
    first step on.

    Args:
        matcher: assigns proposals to ground truth.
        num_classes: object classes; this is also the background's label.
        num_samples: regions an image.
        positive_fraction: the part of them that positives may take.
    """

    def __init__(
        self, matcher: Matcher, num_classes: int, num_samples: int = 512, positive_fraction: float = 0.25
    ) -> None:
        self.matcher = matcher
        self.num_classes = num_classes
        self.choose = BalancedPositiveNegativeSampler(num_samples, positive_fraction)

    def __call__(self, proposals: Tensor, truth: Tensor, classes: Tensor) -> SampledRoIs:
        """Sample.

        Args:
            proposals: [N, 4].
            truth: ground-truth boxes, [G, 4].
            classes: their classes from 0 on, [G].

        Returns:
            The sampled regions.
        """
        own = torch.arange(len(truth), device=truth.device)
        matches = torch.cat([own, self._match(proposals, truth)])
        boxes = torch.cat([truth, proposals])
        # The sampler counts from 1 on as positive and 0 as background.
        (positive,), (negative,) = self.choose([matches + 1])
        chosen = torch.cat([positive.nonzero()[:, 0], negative.nonzero()[:, 0]])
        matched = matches[positive.nonzero()[:, 0]]
        labels = torch.full_like(chosen, self.num_classes)
        labels[: len(matched)] = classes[matched]
        return SampledRoIs(boxes[chosen], labels, matched, chosen < len(truth))

    def _match(self, proposals: Tensor, truth: Tensor) -> Tensor:
        """Index of the ground truth for each proposal, or -1, [N]."""
        if not len(truth):
            return torch.full((len(proposals),), Matcher.BELOW_LOW_THRESHOLD, device=proposals.device)
        return self.matcher(box_iou(truth, proposals))

"""Assignment of anchors and proposals to ground-truth boxes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher as TorchvisionMatcher


class Matcher(TorchvisionMatcher):
    """Assigns each candidate to the ground truth with the largest overlap, to the background, or to neither.

    Called with IoU [ground truths, candidates], it returns per candidate the index of a ground truth, -1 (background)
    or -2 (ignored).

    torchvision's matcher accepts any best candidate of a ground truth, however small its overlap, and assigns it to the
    ground truth that the candidate overlaps most. Here the overlap has a minimum, and the candidate is assigned to the
    ground truth whose best candidate it is (the last one, if there are several). The base class is private, but
    torchvision's region proposal network needs its methods.

    Args:
        positive: Minimum IoU of a positive candidate.
        negative: IoU below which a candidate is background.
        low_quality_iou: Minimum IoU from which the best candidates of a ground truth are always positive; ``None``
            disables this rule.
    """

    def __init__(self, positive: float, negative: float, low_quality_iou: float | None = None) -> None:
        super().__init__(positive, negative, allow_low_quality_matches=low_quality_iou is not None)
        self.low_quality_iou = low_quality_iou or 0.0

    def set_low_quality_matches_(self, matches: Tensor, all_matches: Tensor, match_quality_matrix: Tensor) -> None:
        """Make the best candidates of every ground truth positive, in place.

        Args:
            matches: Current assignment, [N]; changed in place.
            all_matches: Not used, [N]; part of torchvision's interface.
            match_quality_matrix: IoU [G, N].
        """
        del all_matches
        best = match_quality_matrix.max(dim=1, keepdim=True).values
        is_best = (match_quality_matrix == best) & (best >= self.low_quality_iou)
        order = torch.arange(len(best), device=matches.device)[:, None]
        last = torch.where(is_best, order, -1).max(dim=0).values
        matches.copy_(torch.where(last >= 0, last, matches))

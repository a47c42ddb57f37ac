"""Which ground-truth box an anchor or a proposal belongs to."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher as TorchvisionMatcher


class Matcher(TorchvisionMatcher):
    """Assigns each candidate to the ground truth that it overlaps most, or to the background, or to neither.

    Calling it with IoU [ground truths, candidates] gives for each candidate a ground truth's index, -1 (background)
    or -2 (ignored).

    torchvision's matcher lets *any* best candidate of a ground truth in, however small its overlap, and hands it to
    the ground truth that it overlaps most itself; here there is a floor, and such a candidate goes to the ground
    truth whose best it is (to the last one, if it is the best of several).

    Args:
        positive: IoU from which on a candidate is positive.
        negative: IoU below which it is background.
        low_quality_iou: IoU from which on the best candidates of a ground truth are positive in any case;
            ``None`` to have no such rule.
    """

    def __init__(self, positive: float, negative: float, low_quality_iou: float | None = None) -> None:
        super().__init__(positive, negative, allow_low_quality_matches=low_quality_iou is not None)
        self.low_quality_iou = low_quality_iou or 0.0

    def set_low_quality_matches_(self, matches: Tensor, all_matches: Tensor, match_quality_matrix: Tensor) -> None:
        """Make the best candidates of every ground truth positive, in place.

        Args:
            matches: the assignment so far, [N]; changed in place.
            all_matches: unused here, part of torchvision's interface.
            match_quality_matrix: IoU, [G, N].
        """
        del all_matches
        best = match_quality_matrix.max(dim=1, keepdim=True).values
        is_best = (match_quality_matrix == best) & (best >= self.low_quality_iou)
        order = torch.arange(len(best), device=matches.device)[:, None]
        last = torch.where(is_best, order, -1).max(dim=0).values
        matches.copy_(torch.where(last >= 0, last, matches))

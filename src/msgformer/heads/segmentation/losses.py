"""Losses of segmenters over the pixels of a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

PixelLoss = Callable[[Tensor, Tensor, int, "Tensor | None"], Tensor]
"""Function from logits [B, K, H, W], classes [B, H, W], the ignored label and class weights [K] to a loss []."""

FOCAL_GAMMA = 2.0
OHEM_PROBABILITY, OHEM_FRACTION = 0.7, 1 / 16
DICE_SMOOTHING = 1.0


def cross_entropy(logits: Tensor, targets: Tensor, ignored: int, weight: Tensor | None = None) -> Tensor:
    """Compute the mean cross entropy over all pixels, with ignored pixels as zero, as in MMSegmentation's tables.

    Args:
        logits: Logits [B, K, H, W].
        targets: Classes [B, H, W].
        ignored: Label of ignored pixels.
        weight: Weight per class [K]; None for equal weights.

    Returns:
        The loss [].
    """
    return _pixel_losses(logits, targets, ignored, weight).mean()


def focal(logits: Tensor, targets: Tensor, ignored: int, weight: Tensor | None = None) -> Tensor:
    """Compute the mean focal loss ``-(1 - p)^2 log(p)`` of softmax probabilities, with ignored pixels as zero.

    Lin et al., "Focal Loss for Dense Object Detection", eq. 4, with gamma 2.

    Args:
        logits: Logits [B, K, H, W].
        targets: Classes [B, H, W].
        ignored: Label of ignored pixels.
        weight: Weight per class [K]; None for equal weights.

    Returns:
        The loss [].
    """
    plain = _pixel_losses(logits, targets, ignored, None)
    weighted = plain if weight is None else _pixel_losses(logits, targets, ignored, weight)
    return ((1 - torch.exp(-plain)) ** FOCAL_GAMMA * weighted).mean()


def dice(logits: Tensor, targets: Tensor, ignored: int, weight: Tensor | None = None) -> Tensor:
    """Compute the mean of 1 - Dice over the classes that occur in the batch; 0 if no pixel has a class.

    Milletari et al., "V-Net", section 3, with sums instead of squares and both smoothed by 1.

    Args:
        logits: Logits [B, K, H, W].
        targets: Classes [B, H, W].
        ignored: Label of ignored pixels.
        weight: Weight per class [K]; None for equal weights.

    Returns:
        The loss [].
    """
    is_labeled = targets != ignored
    probabilities = logits.float().softmax(1) * is_labeled[:, None]
    truth = F.one_hot(targets.where(is_labeled, 0).long(), logits.shape[1]).movedim(-1, 1) * is_labeled[:, None]
    axes = (0, 2, 3)
    overlap, predicted, labeled = ((probabilities * truth).sum(axes), probabilities.sum(axes), truth.sum(axes))
    losses = 1 - (2 * overlap + DICE_SMOOTHING) / (predicted + labeled + DICE_SMOOTHING)
    weights = labeled.gt(0).float() * (1.0 if weight is None else weight)
    return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


def cross_entropy_and_dice(logits: Tensor, targets: Tensor, ignored: int, weight: Tensor | None = None) -> Tensor:
    """Compute the sum of `cross_entropy` and `dice`.

    Args:
        logits: Logits [B, K, H, W].
        targets: Classes [B, H, W].
        ignored: Label of ignored pixels.
        weight: Weight per class [K]; None for equal weights.

    Returns:
        The loss [].
    """
    return cross_entropy(logits, targets, ignored, weight) + dice(logits, targets, ignored, weight)


def ohem(logits: Tensor, targets: Tensor, ignored: int, weight: Tensor | None = None) -> Tensor:
    """Compute the mean cross entropy of hard pixels: online hard example mining; 0 if no pixel has a class.

    Pixels whose class has a probability below 0.7 are hard, and at least the sixteenth of the labeled pixels with the
    lowest probabilities.

    Args:
        logits: Logits [B, K, H, W].
        targets: Classes [B, H, W].
        ignored: Label of ignored pixels.
        weight: Weight per class [K]; None for equal weights.

    Returns:
        The loss [].
    """
    is_labeled = (targets != ignored).flatten()
    if not is_labeled.any():
        return logits.sum() * 0
    losses = _pixel_losses(logits, targets, ignored, weight).flatten()[is_labeled]
    plain = _pixel_losses(logits.detach(), targets, ignored, None).flatten()[is_labeled]
    num_kept = max(1, int(len(plain) * OHEM_FRACTION))
    threshold = plain.topk(num_kept).values[-1].clamp(max=-torch.tensor(OHEM_PROBABILITY, device=plain.device).log())
    return losses[plain >= threshold].mean()


def _pixel_losses(logits: Tensor, targets: Tensor, ignored: int, weight: Tensor | None) -> Tensor:
    """Return the cross entropy of each pixel [B, H, W]; 0 for ignored pixels."""
    weight = None if weight is None else weight.to(logits.dtype)
    return F.cross_entropy(logits, targets.long(), weight, ignore_index=ignored, reduction="none")


LOSSES: dict[str, PixelLoss] = {
    "ce": cross_entropy,
    "focal": focal,
    "dice": dice,
    "ce+dice": cross_entropy_and_dice,
    "ohem": ohem,
}
"""Losses by the name of the option ``segment.loss``."""

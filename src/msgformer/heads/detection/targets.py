"""Checks of ground truth before training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from msgformer.errors import UserError


def check_targets(
    images: Sequence[Tensor], targets: Sequence[dict[str, Tensor]] | None, num_classes: int, with_masks: bool
) -> None:
    """Check the ground truth of a batch.

    Args:
        images: Images [3, H, W] each.
        targets: Ground truth per image: ``boxes`` [G, 4], ``labels`` [G] and optionally ``masks`` [G, H, W].
        num_classes: Number of object classes; labels run from 1 to this number.
        with_masks: Whether masks are needed.

    Raises:
        UserError: Naming the index of the image in the batch and the problem.
    """
    if targets is None or len(targets) != len(images):
        found = "none" if targets is None else len(targets)
        raise UserError(f"training needs a target for each of the {len(images)} images, but got {found}")
    for index, (image, target) in enumerate(zip(images, targets, strict=True)):
        problem = _find_problem(image, target, num_classes, with_masks)
        if problem:
            raise UserError(f"target {index} of the batch: {problem}")


def _find_problem(image: Tensor, target: dict[str, Tensor], num_classes: int, with_masks: bool) -> str | None:
    needed = ["boxes", "labels"] + ["masks"] * with_masks
    missing = [key for key in needed if key not in target]
    if missing:
        return f"{missing[0]!r} is missing; required are {', '.join(needed)}"
    boxes, labels = target["boxes"], target["labels"]
    expected = {"boxes": (len(boxes), 4), "labels": (len(boxes),), "masks": (len(boxes), *image.shape[-2:])}
    for key in needed:
        if tuple(target[key].shape) != expected[key]:
            return f"{key!r} has shape {tuple(target[key].shape)} instead of {expected[key]}"
    wrong = (labels < 1) | (labels > num_classes)
    if wrong.any():
        return f"label {int(labels[wrong][0])} is not one of 1 to {num_classes}"
    empty = ~(boxes[:, 2:] > boxes[:, :2]).all(1) | ~torch.isfinite(boxes).all(1)
    if empty.any():
        return f"box {[round(x, 2) for x in boxes[empty][0].tolist()]} (x1 y1 x2 y2) has no area"
    return None

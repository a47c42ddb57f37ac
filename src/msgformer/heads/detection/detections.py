"""Selection of detections by score and NMS, and pasting of masks into images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms

from msgformer.config.dense_training_options import DetectOptions
from msgformer.utils.rle import encode_masks, mask_chunks

MIN_LIMIT = ContextVar("MIN_LIMIT", default=0)
"""Least limit of detections per image, which raises lower limits of detectors; see `raised_limit`."""

PASTES_MASKS = ContextVar("PASTES_MASKS", default=True)
"""Whether detectors paste masks into the image; see `unpasted_masks`."""


@dataclass(frozen=True)
class DetectionLimits:
    """Limits of the returned detections.

    Attributes:
        score_threshold: Minimum probability of a detection (exclusive).
        nms_threshold: IoU above which the less probable of two boxes of one class is dropped.
        per_image: Maximum number of detections per image, the most probable ones.
    """

    score_threshold: float = DetectOptions.score_threshold
    nms_threshold: float = DetectOptions.nms_threshold
    per_image: int = DetectOptions.detections_per_image


def select_detections(scores: Tensor, boxes: Tensor, limits: DetectionLimits) -> dict[str, Tensor]:
    """Apply the score threshold, NMS within each class, and the maximum number.

    Args:
        scores: Probabilities of the object classes, [N, K].
        boxes: One box per class, [N, K * 4].
        limits: Limits of the returned detections.

    Returns:
        ``boxes`` [D, 4], ``labels`` [D] from 0 and ``scores`` [D] in descending order.
    """
    region, label = (scores > limits.score_threshold).nonzero(as_tuple=True)
    candidates = boxes.unflatten(1, (-1, 4))[region, label]
    probabilities = scores[region, label]
    per_image = max(limits.per_image, MIN_LIMIT.get())
    keep = batched_nms(candidates, probabilities, label, limits.nms_threshold)[:per_image]
    return {"boxes": candidates[keep], "labels": label[keep], "scores": probabilities[keep]}


def paste_masks(probabilities: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float = 0.5) -> Tensor:
    """Paste the masks of boxes into the image, sampled at pixel centers with sub-pixel alignment.

    Args:
        probabilities: Probabilities of the pixels of each box, [D, S, S].
        boxes: Boxes in pixels of the image, [D, 4].
        size: Height and width of the image.
        threshold: Minimum probability of a pixel of the mask.

    Returns:
        Boolean masks [D, height, width].
    """
    height, width = size
    masks = torch.zeros(len(boxes), height, width, dtype=torch.bool, device=boxes.device)
    # One box at a time and only the pixels around it: memory stays that of the result, on images of any size.
    outlines = torch.cat([boxes[:, :2].floor() - 1, boxes[:, 2:].ceil() + 1], dim=1).long()
    outlines = outlines.clamp(min=0).minimum(outlines.new_tensor([width, height, width, height]))
    for mask, values, box, (x1, y1, x2, y2) in zip(masks, probabilities, boxes, outlines.tolist(), strict=True):
        if x1 < x2 and y1 < y2:
            x = torch.arange(x1, x2, device=box.device) + 0.5
            y = torch.arange(y1, y2, device=box.device) + 0.5
            mask[y1:y2, x1:x2] = _sample(values, box, x, y) >= threshold
    return masks


def encode_found_masks(found: Mapping[str, Tensor], size: tuple[int, int]) -> list[dict[str, Any]]:
    """Encode the masks of detections as compressed RLE, with memory for one chunk of pasted masks at a time.

    Args:
        found: ``masks`` [D, H, W], or those of `unpasted_masks`: ``masks`` [D, S, S] and ``mask_boxes`` [D, 4].
        size: Height and width of the image.
    """
    masks, boxes = found["masks"], found.get("mask_boxes")
    if boxes is None:
        return encode_masks(masks.cpu().numpy())
    chunks = mask_chunks(len(boxes), *size)
    return [rle for rows in chunks for rle in encode_masks(paste_masks(masks[rows], boxes[rows], size).cpu().numpy())]


@contextmanager
def raised_limit(limit: int) -> Iterator[None]:
    """Make detectors return up to ``limit`` detections per image, or up to their own limit if that is higher.

    Args:
        limit: Number of detections.
    """
    token = MIN_LIMIT.set(limit)
    try:
        yield
    finally:
        MIN_LIMIT.reset(token)


@contextmanager
def unpasted_masks() -> Iterator[None]:
    """Make detectors return ``masks`` as probabilities [D, S, S] within ``mask_boxes`` [D, 4].

    Pasted masks [D, H, W] of a large image take gigabytes; `encode_found_masks` pastes and encodes them in chunks.
    """
    token = PASTES_MASKS.set(False)
    try:
        yield
    finally:
        PASTES_MASKS.reset(token)


def _sample(values: Tensor, box: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Sample the values [S, S] of a box at coordinates of the image, [len(y), len(x)]; zero outside the box."""
    x = (x - box[0]) / (box[2] - box[0]) * 2 - 1
    y = (y - box[1]) / (box[3] - box[1]) * 2 - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # [rows, columns, 2]
    return F.grid_sample(values[None, None].to(grid.dtype), grid[None], align_corners=False)[0, 0]

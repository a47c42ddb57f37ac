"""Detection on overlapping tiles of large images.

The result is approximate: an object that is larger than the overlap may be seen only in parts, and the model never sees
the image as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.ops import batched_nms

Detections = dict[str, Tensor]
"""A detector's output for one image, with masks as of `unpasted_masks`."""

TILE_OVERLAP = 0.2
"""Default of the overlap of neighboring tiles, as a fraction of a tile."""

BORDER = 2.0
"""Distance in pixels to an inner border of a tile within which an object counts as cut."""

MAX_COVERED = 0.7
"""Fraction of a cut object that may lie in a whole one of its class; above it, both are taken for one object."""

MIN_RELATIVE_SCORE = 0.5
"""Minimum score of a whole object, relative to that of the cut one that it replaces."""


def tile_starts(side: int, tile: int, overlap: float) -> list[int]:
    """Return where the tiles along a side begin; the last one ends with the image.

    Args:
        side: Length of the side in pixels.
        tile: Side of a tile.
        overlap: Minimum overlap of neighboring tiles, as a fraction of a tile.
    """
    if side <= tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    return [*range(0, side - tile, step), side - tile]


def detect_on_tiles(
    detect: Callable[[Tensor], Detections],
    image: Tensor,
    tile: int,
    overlap: float,
    nms_threshold: float,
    limit: int,
) -> Detections:
    """Detect objects on tiles, and merge them by non-maximum suppression within each class.

    An image that isn't larger than a tile is predicted as it is.

    Args:
        detect: Detector for one image [3, H, W].
        image: Image [3, H, W].
        tile: Side of a tile in pixels.
        overlap: Minimum overlap of neighboring tiles, as a fraction of a tile.
        nms_threshold: IoU above which the less probable of two boxes of one class is dropped.
        limit: Maximum number of detections.
    """
    height, width = image.shape[-2:]
    if max(height, width) <= tile:
        return detect(image)
    parts, cut = [], []
    for y in tile_starts(height, tile, overlap):
        for x in tile_starts(width, tile, overlap):
            part = image[:, y : y + tile, x : x + tile]
            found = _shift(detect(part), x, y)
            inner = torch.tensor([x, y, x + part.shape[2], y + part.shape[1]])
            parts.append(found)
            cut.append(_is_cut(found["boxes"], inner, (height, width)))
    merged = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    keep = _merge(merged, torch.cat(cut), nms_threshold)[:limit]
    return {name: values[keep] for name, values in merged.items()}


def _shift(found: Detections, x: int, y: int) -> Detections:
    """Move the boxes, in which the masks lie, from a tile to the image."""
    offset = found["boxes"].new_tensor([x, y, x, y])
    return {name: values + offset if name in ("boxes", "mask_boxes") else values for name, values in found.items()}


def _is_cut(boxes: Tensor, tile: Tensor, size: Sequence[int]) -> Tensor:
    """Return which boxes [D, 4] touch a border of their tile that is inside the image, [D].

    Args:
        boxes: Boxes in the image.
        tile: Corners of the tile, ``x1 y1 x2 y2``.
        size: Height and width of the image.
    """
    height, width = size
    is_inner = tile != tile.new_tensor([0, 0, width, height])
    return (((boxes - tile.to(boxes)).abs() <= BORDER) & is_inner.to(boxes.device)).any(1)


def _merge(found: Detections, cut: Tensor, nms_threshold: float) -> Tensor:
    """Return the indices of the objects to keep, the most probable first.

    Cut objects that mostly lie in a whole object of their class are dropped first, since the overlap shows it as a
    whole; a cut one with a higher score would otherwise suppress it.
    """
    boxes, scores, labels = found["boxes"], found["scores"], found["labels"]
    keep = torch.ones_like(cut)
    whole = (~cut).nonzero()[:, 0]
    for index in cut.nonzero()[:, 0].tolist():
        rivals = whole[(labels[whole] == labels[index]) & (scores[whole] >= MIN_RELATIVE_SCORE * scores[index])]
        keep[index] = not bool((_covered(boxes[index], boxes[rivals]) > MAX_COVERED).any())
    kept = keep.nonzero()[:, 0]
    return kept[batched_nms(boxes[kept], scores[kept], labels[kept], nms_threshold)]


def _covered(box: Tensor, others: Tensor) -> Tensor:
    """Return which fraction of a box [4] lies in each of the other boxes [D, 4]."""
    low, high = torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:], others[:, 2:])
    return (high - low).clamp(min=0).prod(1) / (box[2:] - box[:2]).clamp(min=1e-6).prod()

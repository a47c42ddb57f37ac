"""Masks as COCO stores them: polygons, or runs of equal pixels counted column by column (RLE)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray

Segmentation = list[list[float]] | dict[str, Any]
"""Polygons ``[x1, y1, x2, y2, ...]``, or ``{"size": [height, width], "counts": ...}`` with a list or a string."""

_FIVE_BITS, _MORE, _SIGN = 0x1F, 0x20, 0x10
_ZERO = ord("0")


def encode_masks(masks: Array) -> list[dict[str, Any]]:
    """Compressed RLE of masks [N, H, W], with strings that JSON can hold."""
    import numpy as np
    from faster_coco_eval.core import mask as api

    encoded = api.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8))
    return [{"size": [int(side) for side in one["size"]], "counts": _text(one["counts"])} for one in encoded]


def decode_mask(segmentation: Segmentation, height: int, width: int) -> Array:
    """A mask, bool [height, width], rasterized as COCO's own tools do it; what lies beyond the image is cut.

    Args:
        segmentation: Checked by :func:`segmentation_problem`.
        height: Of the image.
        width: Of the image.
    """
    from faster_coco_eval.core import mask as api

    return api.decode(compress(segmentation, height, width)).astype(bool)


def compress(segmentation: Segmentation, height: int, width: int) -> dict[str, Any]:
    """Compressed RLE of a checked segmentation; its arguments are those of :func:`decode_mask`."""
    from faster_coco_eval.core import mask as api

    if isinstance(segmentation, list):
        rle = api.merge(api.frPyObjects([part for part in segmentation if is_polygon(part)], height, width))
    elif isinstance(segmentation["counts"], list):
        rle = api.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
    return {"size": [height, width], "counts": _text(rle["counts"])}


def is_polygon(part: object) -> bool:
    """Whether COCO's tools take ``part`` for a polygon: three points or more."""
    return isinstance(part, list) and len(part) >= 6 and len(part) % 2 == 0 and all(map(_is_number, part))


def segmentation_problem(segmentation: object, height: int, width: int) -> str | None:
    """What makes a segmentation unusable for an image of this size, or None."""
    if isinstance(segmentation, list):
        return None if any(map(is_polygon, segmentation)) else "has no polygon of at least 3 points"
    if not isinstance(segmentation, dict) or "counts" not in segmentation or "size" not in segmentation:
        return "is neither a list of polygons nor an RLE with 'size' and 'counts'"
    if list(segmentation["size"]) != [height, width]:
        return f"is an RLE of size {list(segmentation['size'])}, but the image is [{height}, {width}]"
    try:
        counts = run_lengths(segmentation["counts"])
    except (TypeError, ValueError):
        return "is an RLE whose counts can't be read"
    if sum(counts) != height * width or min(counts) < 0:
        return f"is an RLE of {sum(counts)} pixels, but the image has {height} x {width} = {height * width}"
    return None


def run_lengths(counts: list[int] | str) -> list[int]:
    """The runs that a list, or COCO's compressed string, stands for.

    A run is a sequence of characters with five bits each, the lowest first, and from the fourth run on the
    difference from the run before the last (``rleFrString`` in COCO's tools).

    Raises:
        ValueError: the string ends within a run.
    """
    if not isinstance(counts, str):
        return [int(count) for count in counts]
    runs: list[int] = []
    value = shift = 0
    for code in counts.encode():
        code -= _ZERO
        value |= (code & _FIVE_BITS) << shift
        shift += 5
        if not code & _MORE:
            value -= (1 << shift) if code & _SIGN else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("the last run isn't complete")
    return runs


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and value == value and abs(value) != float("inf")


def _text(counts: bytes | str) -> str:
    return counts.decode() if isinstance(counts, bytes) else counts

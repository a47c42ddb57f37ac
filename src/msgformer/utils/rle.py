"""Masks in COCO's formats: polygons, or run-length encoding (RLE) of the pixels column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray

Segmentation = list[list[float]] | dict[str, Any]
"""Polygons ``[x1, y1, x2, y2, ...]``, or ``{"size": [height, width], "counts": ...}`` with a list or a string."""

MAX_CHUNK_PIXELS = 128 * 2**20
"""Maximum number of mask pixels that are decoded, pasted or encoded at a time; each takes one byte per copy."""

_FIVE_BITS, _MORE, _SIGN = 0x1F, 0x20, 0x10
_ZERO = ord("0")


def encode_masks(masks: Array) -> list[dict[str, Any]]:
    """Encode masks [N, H, W] as compressed RLE, with strings for JSON."""
    import numpy as np
    from faster_coco_eval.core import mask as api

    # In chunks, since the encoder needs a copy of the masks in another order.
    parts = [masks[rows].transpose(1, 2, 0) for rows in mask_chunks(*masks.shape)]
    encoded = [one for part in parts for one in api.encode(np.asfortranarray(part, dtype=np.uint8))]
    return [{"size": [int(side) for side in one["size"]], "counts": _text(one["counts"])} for one in encoded]


def mask_chunks(count: int, height: int, width: int) -> list[slice]:
    """Split masks into chunks of at most `MAX_CHUNK_PIXELS`, and at least one mask each.

    Args:
        count: Number of masks.
        height: Height of the image.
        width: Width of the image.
    """
    step = max(1, MAX_CHUNK_PIXELS // max(1, height * width))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def decode_mask(segmentation: Segmentation, height: int, width: int) -> Array:
    """Decode a mask as COCO's tools do; parts outside the image are clipped.

    Args:
        segmentation: A segmentation without a `segmentation_problem`.
        height: Height of the image.
        width: Width of the image.

    Returns:
        Mask, bool [height, width].
    """
    from faster_coco_eval.core import mask as api

    mask: np.ndarray = api.decode(compress(segmentation, height, width)).astype(bool)
    return mask


def compress(segmentation: Segmentation, height: int, width: int) -> dict[str, Any]:
    """Convert a segmentation to compressed RLE.

    Args:
        segmentation: A segmentation without a `segmentation_problem`.
        height: Height of the image.
        width: Width of the image.
    """
    from faster_coco_eval.core import mask as api

    if isinstance(segmentation, list):
        rle = api.merge(api.frPyObjects([part for part in segmentation if is_polygon(part)], height, width))
    elif isinstance(segmentation["counts"], list):
        rle = api.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
    return {"size": [height, width], "counts": _text(rle["counts"])}


def is_polygon(part: object) -> bool:
    """Return whether COCO's tools accept ``part`` as a polygon, which has at least three points."""
    return isinstance(part, list) and len(part) >= 6 and len(part) % 2 == 0 and all(map(_is_number, part))


def segmentation_problem(segmentation: object, height: int, width: int) -> str | None:
    """Return why a segmentation is invalid for an image, or None.

    Args:
        segmentation: The segmentation.
        height: Height of the image.
        width: Width of the image.
    """
    if isinstance(segmentation, list):
        return None if any(map(is_polygon, segmentation)) else "has no polygon of at least 3 points"
    if not isinstance(segmentation, dict) or "counts" not in segmentation or "size" not in segmentation:
        return "is neither a list of polygons nor an RLE with 'size' and 'counts'"
    if segmentation["size"] not in ([height, width], (height, width)):
        return f"is an RLE of size {segmentation['size']}, but the image is [{height}, {width}]"
    try:
        counts = run_lengths(segmentation["counts"])
    except (OverflowError, TypeError, ValueError):
        return "is an RLE whose counts can't be read"
    if sum(counts) != height * width or min(counts) < 0:
        return f"is an RLE of {sum(counts)} pixels, but the image has {height} x {width} = {height * width}"
    return None


def run_lengths(counts: list[int] | str) -> list[int]:
    """Decode run lengths from a list or from COCO's compressed string.

    In the string, each run is a sequence of characters with five bits each, lowest bits first. From the fourth run on,
    the difference from the run two places earlier is stored (``rleFrString`` in COCO's tools).

    Raises:
        ValueError: The string ends within a run, or a run isn't a whole number.
    """
    if not isinstance(counts, str):
        if any(int(count) != count for count in counts):
            raise ValueError("a run isn't a whole number")
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

"""Colors of classes in label maps that are drawn in RGB."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgformer.errors import UserError

if TYPE_CHECKING:
    import numpy as np

MAX_COLORS = 10
"""Maximum number of colors that a message names."""

MAX_CLASS_COLORS = 64
"""Maps with more colors than this are photographs or smoothed masks rather than maps of classes."""


class ColoredMapError(UserError):
    """A label map has colors of no class.

    Args:
        path: The file.
        counts: Number of pixels of each packed color.
        known: Colors of classes.
    """

    def __init__(self, path: str, counts: Mapping[int, int], known: Mapping[int, int]) -> None:
        self.path, self.counts, self.known = path, counts, known
        super().__init__(f"{path} has {describe_colors(counts, known)}")


def describe_colors(counts: Mapping[int, int], known: Mapping[int, int], classes: Sequence[str] = ()) -> str:
    """Describe the colors of label maps that no class has, with the option that gives them one.

    Args:
        counts: Number of pixels of each packed color.
        known: Colors of classes.
        classes: Names of the classes in the data set's own file.
    """
    common = Counter(counts).most_common()
    unknown = [(color, count) for color, count in common if color not in known]
    total = sum(counts.values())
    shares = ", ".join(f"({format_color(color)}) {count / total:.1%}" for color, count in unknown[:MAX_COLORS])
    more = f" and {len(unknown) - MAX_COLORS} more" if len(unknown) > MAX_COLORS else ""
    if len(common) > MAX_CLASS_COLORS:
        return f"{len(common)} colors ({shares}{more}), too many for classes; save label maps as PNG without smoothing"
    if known:
        return f"colors that no class has: {shares}{more}; add them to the colors of the classes"
    names = classes if len(classes) == len(common) else [f"CLASS{place}" for place in range(1, len(common) + 1)]
    pairs = zip(common, names, strict=True)
    mapping = ", ".join(f'"{format_color(color)}": {name}' for (color, _), name in pairs)
    return f"colors: {shares}{more}; give each its class, with --segment_images.label_map '{{{mapping}}}'"


def pack_colors(pixels: np.ndarray) -> np.ndarray:
    """Pack the colors of pixels [H, W, 3 or 4] into 24 bits each, int32 [H, W]."""
    red, green, blue = (pixels[..., channel].astype("int32") for channel in range(3))
    packed: np.ndarray = (red << 16) | (green << 8) | blue
    return packed


def is_gray(pixels: np.ndarray) -> bool:
    """Return whether RGBA pixels [H, W, 4] are opaque and have three equal channels."""
    same = (pixels[..., 1:3] == pixels[..., :1]).all()
    return bool(same and (pixels[..., 3] == 255).all())


def parse_color(text: str) -> int | None:
    """Return the packed color of "#rrggbb" or of three numbers, or None.

    Args:
        text: The color, its numbers separated by spaces or commas, and possibly in brackets.
    """
    if match := re.fullmatch(r"#([0-9a-fA-F]{6})", text.strip()):
        return int(match[1], 16)
    match = re.fullmatch(r"[(\[]?\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*[)\]]?", text.strip())
    if match is None or any(int(number) > 255 for number in match.groups()):
        return None
    red, green, blue = map(int, match.groups())
    return (red << 16) | (green << 8) | blue


def format_color(color: int) -> str:
    """Format a packed color as "r, g, b"."""
    return f"{color >> 16}, {color >> 8 & 255}, {color & 255}"

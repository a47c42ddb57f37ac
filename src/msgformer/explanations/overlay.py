"""Overlay values of patches on an image: heat maps, windows, and token groups."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from msgformer.explanations.messengers import MessengerBlock
from msgformer.explanations.significance import SignificanceBlock
from msgformer.visual.drawing import GOLDEN_RATIO

MIN_SIDE = 512
"""Approximate minimum of the longer side of a figure in pixels; smaller images are enlarged by an integer factor."""

GRAY, WHITE = (0.299, 0.587, 0.114), 0.3
"""Background of a heat map: weights of the color channels for grayscale, and the fraction of white mixed in."""

LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5
"""Percentiles of all values that are transparent, and have the strongest color."""

GROUP_OPACITY = 0.62
WINDOW_LINE = (255, 255, 255)
CHOSEN_LINE = (20, 88, 190)
"""Opacity of the colors of token groups, and RGB colors of the borders of windows and of the selected window."""


@dataclass(frozen=True)
class ExplainedImage:
    """An image, and the traced blocks of a model.

    Attributes:
        name: Name of the image.
        image: The model's view of it in RGB, without padding.
        blocks: Traced blocks, all of one model family.
    """

    name: str
    image: Image.Image
    blocks: Sequence[MessengerBlock | SignificanceBlock]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.height, self.image.width


@cache
def heat_colors() -> np.ndarray:
    """Return the RGBA color map of heat, uint8 [256, 4]: from transparent over yellow to dark red."""
    strength = np.linspace(0, 1, 256)
    colors = matplotlib.colormaps["YlOrRd"](0.15 + 0.85 * strength)
    colors[:, 3] = 0.9 * strength**0.8
    return (255 * colors).round().astype(np.uint8)


def heat_range(values: np.ndarray) -> tuple[float, float]:
    """Return the values that are transparent and that have the strongest color; they always differ."""
    low, high = (float(limit) for limit in np.percentile(values, (LOW_PERCENTILE, HIGH_PERCENTILE)))
    return low, max(high, low + 1e-9)


def normalize_heat(values: np.ndarray) -> np.ndarray:
    """Scale values so that 0 is transparent and 1 has the strongest color."""
    low, high = heat_range(values)
    return (values - low) / (high - low)


def attention_map(block: MessengerBlock, head: int | None = None) -> np.ndarray:
    """Arrange the attention of the messengers to their patches as a map of whole windows, [nH * h, nW * w].

    Args:
        block: Traced block.
        head: Index of the head; None for the mean of all heads.
    """
    attention = block.attention.mean(dim=0) if head is None else block.attention[head]
    (rows, cols), (height, width) = block.grid, block.window
    windows = attention[:, 1:].numpy().reshape(rows, cols, height, width)
    return windows.transpose(0, 2, 1, 3).reshape(rows * height, cols * width)


def crop(tokens: np.ndarray, stride: int, size: tuple[int, int]) -> np.ndarray:
    """Crop a map to the tokens that overlap the image; the others are padding.

    Args:
        tokens: Map [H, W].
        stride: Side of a token in pixels.
        size: Height and width of the image.
    """
    return tokens[: -(-size[0] // stride), : -(-size[1] // stride)]


def to_pixels(tokens: np.ndarray, stride: int, size: tuple[int, int]) -> np.ndarray:
    """Enlarge a map of tokens to the pixels of the image [h, w].

    Args:
        tokens: Map [H, W].
        stride: Side of a token in pixels.
        size: Height h and width w of the image; the map is cropped to it.
    """
    return tokens.repeat(stride, 0).repeat(stride, 1)[: size[0], : size[1]]


def enlarge(image: Image.Image) -> tuple[Image.Image, int]:
    """Enlarge a small image; return it and the integer factor."""
    scale = max(1, round(MIN_SIDE / max(image.size)))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC), scale


def to_light_gray(image: Image.Image) -> np.ndarray:
    """Convert an image to light gray, as a background for colors: float32 [h, w, 3]."""
    gray = np.asarray(image, np.float32) @ np.array(GRAY, np.float32)
    return np.repeat((255 * WHITE + (1 - WHITE) * gray)[..., None], 3, axis=2)


def overlay_heat(image: Image.Image, values: np.ndarray) -> Image.Image:
    """Overlay a heat map on an image in light gray.

    Args:
        image: Image of [h, w] pixels.
        values: Heat of each pixel [h, w]; 1 and above have the strongest color.
    """
    colors = heat_colors()[(255 * values.clip(0, 1)).round().astype(int)].astype(np.float32)
    ground, opacity = to_light_gray(image), colors[..., 3:] / 255
    return Image.fromarray((ground + opacity * (colors[..., :3] - ground)).round().astype(np.uint8))


def overlay_groups(image: Image.Image, groups: np.ndarray, colors: np.ndarray) -> Image.Image:
    """Overlay the colors of token groups on an image in light gray.

    Args:
        image: Image of [h, w] pixels.
        groups: Group of each pixel [h, w].
        colors: Color of each group [G, 3].
    """
    ground = to_light_gray(image)
    return Image.fromarray((ground + GROUP_OPACITY * (colors[groups] - ground)).round().astype(np.uint8))


def group_colors(kind_of_group: Sequence[int]) -> np.ndarray:
    """Return colors of groups, uint8 [G, 3]: blue for the least significant tokens, then green, orange for the most."""
    kinds = max(kind_of_group) + 1
    hues = (0.60, 0.42, 0.07) if kinds > 2 else (0.60, 0.07)
    colors = [
        colorsys.hls_to_rgb(hues[kind] + 0.03 * (number % 3 - 1), 0.32 + 0.4 * (number * GOLDEN_RATIO % 1), 0.8)
        for number, kind in enumerate(kind_of_group)
    ]
    return (255 * np.array(colors)).round().astype(np.uint8)


def draw_windows(
    image: Image.Image, grid: tuple[int, int], side: tuple[int, int], chosen: int | None = None
) -> Image.Image:
    """Draw the borders of windows on a copy of an image.

    Args:
        image: The image; windows may extend beyond its lower and right border.
        grid: Rows and columns of windows.
        side: Height and width of a window in pixels of the image.
        chosen: Index of a window to highlight, in raster order.
    """
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn)
    for row in range(1, grid[0]):
        pen.line((0, row * side[0], drawn.width, row * side[0]), WINDOW_LINE)
    for col in range(1, grid[1]):
        pen.line((col * side[1], 0, col * side[1], drawn.height), WINDOW_LINE)
    if chosen is not None:
        pen.rectangle(window_box(chosen, grid, side, image.size), outline=CHOSEN_LINE, width=4)
    return drawn


def window_box(
    window: int, grid: tuple[int, int], side: tuple[int, int], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return the left, top, right and bottom pixel of a window, clipped to the image.

    Args:
        window: Index of the window in raster order.
        grid: Rows and columns of windows.
        side: Height and width of a window in pixels.
        size: Width and height of the image.
    """
    row, col = divmod(window, grid[1])
    right, bottom = min((col + 1) * side[1], size[0]) - 1, min((row + 1) * side[0], size[1]) - 1
    return min(col * side[1], right), min(row * side[0], bottom), right, bottom

"""Numbers of patches laid back over the picture: heat, windows, and groups of tokens."""

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
from msgformer.visual.drawing import GOLDEN

Box = tuple[int, int, int, int]

MIN_SIDE = 512
"""Pixels that the longer side of a drawn picture has at least, about: smaller ones are enlarged, by a whole number."""

GREY, WHITE = (0.299, 0.587, 0.114), 0.3
"""How a picture becomes the ground of heat: weights of its colours, and the part of white that is mixed in."""

CLEAR, STRONGEST = 0.5, 99.5
"""Percentiles of all values that have no colour, and the strongest."""

GROUP_OPACITY = 0.62
WINDOW_LINE = (255, 255, 255)
CHOSEN_LINE = (20, 88, 190)


@dataclass(frozen=True)
class Explained:
    """An image, and what a model did with it.

    Attributes:
        name: The image's.
        picture: As the model saw it, without padding, in RGB.
        blocks: What its blocks did, those of one family.
    """

    name: str
    picture: Image.Image
    blocks: Sequence[MessengerBlock | SignificanceBlock]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.picture.height, self.picture.width


@cache
def heat_colours() -> np.ndarray:
    """Colours and opacity of heat from nothing to the most, uint8 [256, 4]: from clear over yellow to dark red."""
    strength = np.linspace(0, 1, 256)
    colours = matplotlib.colormaps["YlOrRd"](0.15 + 0.85 * strength)
    colours[:, 3] = 0.9 * strength**0.8
    return (255 * colours).round().astype(np.uint8)


def span(values: np.ndarray) -> tuple[float, float]:
    """The values that have no colour and the strongest; never the same."""
    low, high = (float(limit) for limit in np.percentile(values, (CLEAR, STRONGEST)))
    return low, max(high, low + 1e-9)


def spread(values: np.ndarray) -> np.ndarray:
    """Values from 0, without colour, to 1, in the strongest."""
    low, high = span(values)
    return (values - low) / (high - low)


def attention_map(block: MessengerBlock, head: int | None = None) -> np.ndarray:
    """Messengers' attention to patches laid back as a map of whole windows, [nH * h, nW * w].

    Args:
        block: What was traced.
        head: Which head's, from 0 on; None: the mean of all.
    """
    attention = block.attention.mean(dim=0) if head is None else block.attention[head]
    (rows, cols), (height, width) = block.grid, block.window
    windows = attention[:, 1:].numpy().reshape(rows, cols, height, width)
    return windows.transpose(0, 2, 1, 3).reshape(rows * height, cols * width)


def crop(tokens: np.ndarray, stride: int, size: tuple[int, int]) -> np.ndarray:
    """The tokens of a map [H, W] that a picture of height and width ``size`` has a part in."""
    return tokens[: -(-size[0] // stride), : -(-size[1] // stride)]


def to_pixels(tokens: np.ndarray, stride: int, size: tuple[int, int]) -> np.ndarray:
    """A map of tokens [H, W] as pixels [h, w]; what lies beyond the picture is cut off."""
    return tokens.repeat(stride, 0).repeat(stride, 1)[: size[0], : size[1]]


def enlarge(picture: Image.Image) -> tuple[Image.Image, int]:
    """A picture large enough to be drawn on, and how many times it was enlarged."""
    times = max(1, round(MIN_SIDE / max(picture.size)))
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.BICUBIC), times


def soften(picture: Image.Image) -> np.ndarray:
    """A picture in light grey, on which colours stand out, float [h, w, 3]."""
    grey = np.asarray(picture, np.float32) @ np.array(GREY, np.float32)
    return np.repeat((255 * WHITE + (1 - WHITE) * grey)[..., None], 3, axis=2)


def lay_heat(picture: Image.Image, values: np.ndarray) -> Image.Image:
    """A picture in light grey under heat.

    Args:
        picture: Of [h, w] pixels.
        values: Heat of each pixel, [h, w]; from 1 on it is the strongest.
    """
    colours = heat_colours()[(255 * values.clip(0, 1)).round().astype(int)].astype(np.float32)
    ground, opacity = soften(picture), colours[..., 3:] / 255
    return Image.fromarray((ground + opacity * (colours[..., :3] - ground)).round().astype(np.uint8))


def lay_groups(picture: Image.Image, groups: np.ndarray, colours: np.ndarray) -> Image.Image:
    """A picture in light grey under the colours of groups.

    Args:
        picture: Of [h, w] pixels.
        groups: Group of each pixel, [h, w].
        colours: Of all groups, [G, 3].
    """
    ground = soften(picture)
    return Image.fromarray((ground + GROUP_OPACITY * (colours[groups] - ground)).round().astype(np.uint8))


def group_colours(kind_of_group: Sequence[int]) -> np.ndarray:
    """Colours of groups, uint8 [G, 3]: blue for the least significant tokens, then green, orange for the most."""
    kinds = max(kind_of_group) + 1
    hues = (0.60, 0.42, 0.07) if kinds > 2 else (0.60, 0.07)
    colours = [
        colorsys.hls_to_rgb(hues[kind] + 0.03 * (number % 3 - 1), 0.32 + 0.4 * (number * GOLDEN % 1), 0.8)
        for number, kind in enumerate(kind_of_group)
    ]
    return (255 * np.array(colours)).round().astype(np.uint8)


def draw_windows(
    picture: Image.Image, grid: tuple[int, int], side: tuple[int, int], chosen: int | None = None
) -> Image.Image:
    """A copy of a picture with the borders of windows.

    Args:
        picture: The picture; windows may reach beyond it at the bottom and the right.
        grid: Rows and columns of windows.
        side: Height and width of a window in the picture's pixels.
        chosen: Window with a border of its own, in raster order.
    """
    drawn = picture.copy()
    pen = ImageDraw.Draw(drawn)
    for row in range(1, grid[0]):
        pen.line((0, row * side[0], drawn.width, row * side[0]), WINDOW_LINE)
    for col in range(1, grid[1]):
        pen.line((col * side[1], 0, col * side[1], drawn.height), WINDOW_LINE)
    if chosen is not None:
        pen.rectangle(window_box(chosen, grid, side, picture.size), outline=CHOSEN_LINE, width=4)
    return drawn


def window_box(window: int, grid: tuple[int, int], side: tuple[int, int], size: tuple[int, int]) -> Box:
    """Left, top, right and bottom pixel of a window, inside a picture of width and height ``size``."""
    row, col = divmod(window, grid[1])
    right, bottom = min((col + 1) * side[1], size[0]) - 1, min((row + 1) * side[0], size[1]) - 1
    return min(col * side[1], right), min(row * side[0], bottom), right, bottom

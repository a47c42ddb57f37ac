"""What detectors and segmenters see, drawn on the pictures."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

GOLDEN = 0.618034  # of a turn of the color wheel from one class to the next: neighbors differ, few coincide
MASK_OPACITY = 0.45
LARGE = 640  # pixels of the longer side for which lines are two pixels wide


@dataclass(frozen=True)
class Mark:
    """An object to draw.

    Attributes:
        box: ``x1 y1 x2 y2`` in pixels.
        label: Index of its class, from 0 on; it chooses the color.
        text: What to write at the box; empty: nothing.
        mask: Its pixels, bool [H, W]; None: the box alone.
    """

    box: Sequence[float]
    label: int
    text: str = ""
    mask: np.ndarray | None = None


def class_color(label: int) -> Color:
    """The color of a class: strong, and far from those of the classes beside it."""
    red, green, blue = colorsys.hsv_to_rgb(label * GOLDEN % 1, 0.85, 0.95 if label % 2 else 0.8)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_objects(picture: Image.Image, marks: Sequence[Mark]) -> Image.Image:
    """A copy of an RGB picture with masks, boxes and texts, the first mark on top."""
    pixels = np.asarray(picture).astype(np.float32)
    for mark in reversed(marks):
        if mark.mask is not None:
            color = np.array(class_color(mark.label), np.float32)
            pixels[mark.mask] += MASK_OPACITY * (color - pixels[mark.mask])
    drawn = Image.fromarray(pixels.round().astype(np.uint8))
    width = max(1, round(2 * max(picture.size) / LARGE))
    pen = ImageDraw.Draw(drawn)
    for mark in reversed(marks):
        pen.rectangle(tuple(mark.box), outline=class_color(mark.label), width=width)
        if mark.text:
            _write(pen, mark, picture.size)
    return drawn


def draw_classes(picture: Image.Image, classes: np.ndarray, ignored: int = 255) -> Image.Image:
    """A copy of an RGB picture under the colors of its pixels' classes.

    Args:
        picture: Of [H, W] pixels.
        classes: Class of each pixel, from 0 on, [H, W].
        ignored: Pixels of this number stay as they are.
    """
    colors = np.array([class_color(label) for label in range(256)], np.float32)
    pixels = np.asarray(picture).astype(np.float32)
    shown = classes != ignored
    pixels[shown] += MASK_OPACITY * (colors[classes[shown]] - pixels[shown])
    return Image.fromarray(pixels.round().astype(np.uint8))


def class_map(classes: np.ndarray) -> Image.Image:
    """A class map [H, W] as a palette picture: each pixel holds its class, and shows the class's color."""
    image = Image.fromarray(classes.astype(np.uint8))
    image.putpalette([part for label in range(256) for part in class_color(label)])
    return image


def _write(pen: ImageDraw.ImageDraw, mark: Mark, size: tuple[int, int]) -> None:
    """Write a mark's text at the upper left corner of its box, inside the picture, on a ground of its color."""
    font = ImageFont.load_default(max(9, round(14 * max(size) / LARGE)))
    left, top, right, bottom = pen.textbbox((0, 0), mark.text, font=font)
    x = min(max(0.0, mark.box[0]), max(0.0, size[0] - (right - left) - 2))
    y = mark.box[1] - (bottom - top) - 3
    y = y if y >= 0 else min(mark.box[1] + 1, size[1] - (bottom - top) - 3)
    color = class_color(mark.label)
    pen.rectangle((x, y, x + right - left + 2, y + bottom - top + 3), fill=color)
    brightness = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    pen.text((x + 1 - left, y + 1 - top), mark.text, fill="black" if brightness > 140 else "white", font=font)


def draw_lines(image: Image.Image, lines: Sequence[str]) -> Image.Image:
    """Return a copy of an RGB image with lines of text in its upper left corner, on a dark ground.

    Args:
        image: The image.
        lines: Short texts, one below the other.
    """
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn, "RGBA")
    font = ImageFont.load_default(max(9, round(14 * max(image.size) / LARGE)))
    text = "\n".join(lines)
    _, _, right, bottom = pen.multiline_textbbox((4, 3), text, font=font)
    pen.rectangle((0, 0, right + 4, bottom + 4), fill=(0, 0, 0, 150))
    pen.multiline_text((4, 3), text, fill="white", font=font)
    return drawn

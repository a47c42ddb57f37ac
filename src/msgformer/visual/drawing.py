"""Draw predictions on images: boxes, masks, class maps and text."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

GOLDEN_RATIO = 0.618034  # step of the hue from one class to the next: adjacent classes differ, and few classes coincide
MASK_OPACITY = 0.45
REFERENCE_SIDE = 640  # longer side in pixels of an image whose lines are 2 pixels wide and whose text is 14 pixels high


@dataclass(frozen=True)
class Mark:
    """An object to draw.

    Attributes:
        box: ``x1 y1 x2 y2`` in pixels.
        label: Index of the class, counted from 0; it determines the color.
        text: Text at the box; empty for none.
        mask: Mask of the object, bool [H, W], or a function that returns it, so that not all masks are in memory at
            a time; None to draw only the box.
    """

    box: Sequence[float]
    label: int
    text: str = ""
    mask: np.ndarray | Callable[[], np.ndarray] | None = None


def class_color(label: int) -> Color:
    """Return the color of a class: saturated, and different from those of adjacent classes."""
    red, green, blue = colorsys.hsv_to_rgb(label * GOLDEN_RATIO % 1, 0.85, 0.95 if label % 2 else 0.8)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_objects(image: Image.Image, marks: Sequence[Mark]) -> Image.Image:
    """Draw masks, boxes and texts on a copy of an RGB image.

    Args:
        image: The image.
        marks: Objects to draw; the first one is on top.
    """
    pixels = np.asarray(image).astype(np.float32)
    for mark in reversed(marks):
        if mark.mask is not None:
            color = np.array(class_color(mark.label), np.float32)
            mask = mark.mask() if callable(mark.mask) else mark.mask
            pixels[mask] += MASK_OPACITY * (color - pixels[mask])
    drawn = Image.fromarray(pixels.round().astype(np.uint8))
    width = max(1, round(2 * max(image.size) / REFERENCE_SIDE))
    pen = ImageDraw.Draw(drawn)
    for mark in reversed(marks):
        pen.rectangle(tuple(mark.box), outline=class_color(mark.label), width=width)
        if mark.text:
            _write(pen, mark, image.size)
    return drawn


def draw_classes(image: Image.Image, classes: np.ndarray, ignored: int = 255) -> Image.Image:
    """Overlay the colors of the classes of all pixels on a copy of an RGB image.

    Args:
        image: Image of [H, W] pixels.
        classes: Class of each pixel, counted from 0 [H, W].
        ignored: Class whose pixels are not changed.
    """
    pixels = np.asarray(image).astype(np.float32)
    shown = classes != ignored
    colors = np.array([class_color(label) for label in range(int(classes[shown].max(initial=0)) + 1)], np.float32)
    pixels[shown] += MASK_OPACITY * (colors[classes[shown]] - pixels[shown])
    return Image.fromarray(pixels.round().astype(np.uint8))


def class_map(classes: np.ndarray) -> Image.Image:
    """Convert a class map [H, W] to an image of classes.

    It has a palette: each pixel stores its class and has the color of the class. Maps of 16 bits (uint16) are gray.
    """
    if classes.dtype == np.uint16:
        return Image.fromarray(classes)
    image = Image.fromarray(classes.astype(np.uint8))
    image.putpalette([part for label in range(256) for part in class_color(label)])
    return image


def _font(size: tuple[int, int]) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font in proportion to the size of an image, at least 9 pixels high."""
    return ImageFont.load_default(max(9, round(14 * max(size) / REFERENCE_SIDE)))


def _write(pen: ImageDraw.ImageDraw, mark: Mark, size: tuple[int, int]) -> None:
    """Write a mark's text at the upper left corner of its box, inside the image, on a background of its color."""
    font = _font(size)
    left, top, right, bottom = pen.textbbox((0, 0), mark.text, font=font)
    x = min(max(0.0, mark.box[0]), max(0.0, size[0] - (right - left) - 2))
    y = mark.box[1] - (bottom - top) - 3
    y = y if y >= 0 else min(mark.box[1] + 1, size[1] - (bottom - top) - 3)
    color = class_color(mark.label)
    pen.rectangle((x, y, x + right - left + 2, y + bottom - top + 3), fill=color)
    brightness = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    pen.text((x + 1 - left, y + 1 - top), mark.text, fill="black" if brightness > 140 else "white", font=font)


def draw_lines(image: Image.Image, lines: Sequence[str]) -> Image.Image:
    """Write lines of text in the upper left corner of a copy of an RGB image, on a dark background.

    Args:
        image: The image.
        lines: Short texts, one below the other.
    """
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn, "RGBA")
    font = _font(image.size)
    text = "\n".join(lines)
    _, _, right, bottom = pen.multiline_textbbox((4, 3), text, font=font)
    pen.rectangle((0, 0, right + 4, bottom + 4), fill=(0, 0, 0, 150))
    pen.multiline_text((4, 3), text, fill="white", font=font)
    return drawn

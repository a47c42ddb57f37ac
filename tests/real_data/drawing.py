"""Drawn images: colored disks and squares on noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

COLORS = {"disk": (220, 60, 60), "square": (60, 90, 220)}
SIZE = (96, 72)
"""Width and height of the images."""


@dataclass(frozen=True)
class Shape:
    """A drawn object: its class, and its box [left, top, side, side] in pixels."""

    name: str
    left: int
    top: int
    side: int

    @property
    def box(self) -> list[int]:
        return [self.left, self.top, self.side, self.side]

    @property
    def polygon(self) -> list[int]:
        right, bottom = self.left + self.side, self.top + self.side
        return [self.left, self.top, right, self.top, right, bottom, self.left, bottom]


def background(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(60, 120, (height, width, 3), dtype=np.uint8))


def draw(image: Image.Image, shape: Shape) -> None:
    pen, corners = ImageDraw.Draw(image), (*shape.box[:2], shape.left + shape.side, shape.top + shape.side)
    paint = pen.ellipse if shape.name == "disk" else pen.rectangle
    paint(corners, fill=COLORS.get(shape.name, COLORS["square"]))


def image_of(name: str, seed: int) -> Image.Image:
    """Draw an image with one object."""
    image = background(seed)
    draw(image, Shape(name, 4 + seed * 7 % 50, 3 + seed * 5 % 30, 30))
    return image


def scene(seed: int) -> tuple[Image.Image, list[Shape]]:
    """Draw an image with a disk and two squares."""
    image, sides = background(seed), np.random.default_rng(seed).integers(16, 26, 3)
    shapes = [
        Shape(name, 3 + 31 * place, 4 + (seed * 11 + 17 * place) % 40, int(side))
        for place, (name, side) in enumerate(zip(("disk", "square", "square"), sides, strict=True))
    ]
    for shape in shapes:
        draw(image, shape)
    return image, shapes


def mask(seed: int, *values: int, mode: str = "L", empty: int = 0) -> Image.Image:
    """Draw the objects of a scene with one value per class (disk, square), or one for both."""
    image = Image.new(mode, SIZE, empty)
    for shape in scene(seed)[1]:
        value = values[-1] if shape.name == "square" else values[0]
        pen = ImageDraw.Draw(image)
        pen.rectangle((shape.left, shape.top, shape.left + shape.side - 1, shape.top + shape.side - 1), fill=value)
    return image

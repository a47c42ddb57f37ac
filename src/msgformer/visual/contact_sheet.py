"""Contact sheets: many small pictures with a caption each, on pages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

CELL = 160
"""Longest side of a picture."""

COLUMNS, ROWS = 8, 6
GAP = 10
LINE = 15
"""Height of a line of a caption."""

LINES = 2


class ContactSheet:
    """Pages of small pictures; only the page that is being filled is in memory.

    Args:
        path: The first page, a PNG file; the next ones are ``NAME-2.png``, ``NAME-3.png``, ...
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pages: list[Path] = []
        self._cells: list[tuple[Image.Image, Sequence[str]]] = []

    def add(self, picture: Image.Image, caption: Sequence[str]) -> None:
        """Put a picture of at most CELL x CELL on the page, with at most LINES lines under it, the first in bold."""
        self._cells.append((picture, caption))
        if len(self._cells) == COLUMNS * ROWS:
            self._write()

    def finish(self) -> list[Path]:
        """Write the page that is being filled; gives all pages."""
        if self._cells:
            self._write()
        return self.pages

    def _write(self) -> None:
        columns = min(COLUMNS, len(self._cells))
        rows = -(-len(self._cells) // COLUMNS)
        width, height = CELL + GAP, CELL + GAP + LINES * LINE
        page = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
        draw = ImageDraw.Draw(page)
        for number, (picture, caption) in enumerate(self._cells):
            left = GAP + number % COLUMNS * width
            top = GAP + number // COLUMNS * height
            page.paste(picture, (left + (CELL - picture.width) // 2, top + (CELL - picture.height) // 2))
            for line, text in enumerate(caption[:LINES]):
                font = _font(bold=line == 0)
                draw.text((left, top + CELL + 2 + line * LINE), fitted(text, font, CELL), "#1f2430", font)
        path = self.path if not self.pages else self.path.with_stem(f"{self.path.stem}-{len(self.pages) + 1}")
        page.save(path)
        self.pages.append(path)
        self._cells = []


def fitted(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """``text``, cut so that it is at most ``width`` pixels wide."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def _font(*, bold: bool) -> ImageFont.FreeTypeFont:
    """The font that Matplotlib brings, which has most of Europe's letters."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), 11)

"""Contact sheets: pages of thumbnails with captions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

CELL = 160
"""Maximum side of a thumbnail in pixels."""

COLUMNS, ROWS = 8, 6
"""Thumbnails per page."""

GAP = 10
"""Space between thumbnails in pixels."""

LINE_HEIGHT = 15
"""Height of a line of a caption in pixels."""

MAX_LINES = 2
"""Maximum number of lines of a caption."""


class ContactSheet:
    """Writes pages of thumbnails; only the current page is in memory.

    Args:
        path: PNG file of the first page; the next ones are ``NAME-2.png``, ``NAME-3.png``, ...
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pages: list[Path] = []
        self._cells: list[tuple[Image.Image, Sequence[str]]] = []

    def add(self, image: Image.Image, caption: Sequence[str]) -> None:
        """Add a thumbnail to the page.

        Args:
            image: Image of at most CELL x CELL pixels.
            caption: At most MAX_LINES lines of text; the first is bold.
        """
        self._cells.append((image, caption))
        if len(self._cells) == COLUMNS * ROWS:
            self._write()

    def finish(self) -> list[Path]:
        """Write the last page; return the files of all pages."""
        if self._cells:
            self._write()
        return self.pages

    def _write(self) -> None:
        columns = min(COLUMNS, len(self._cells))
        rows = -(-len(self._cells) // COLUMNS)
        width, height = CELL + GAP, CELL + GAP + MAX_LINES * LINE_HEIGHT
        page = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
        draw = ImageDraw.Draw(page)
        for index, (image, caption) in enumerate(self._cells):
            left = GAP + index % COLUMNS * width
            top = GAP + index // COLUMNS * height
            page.paste(image, (left + (CELL - image.width) // 2, top + (CELL - image.height) // 2))
            for line, text in enumerate(caption[:MAX_LINES]):
                font = _font(bold=line == 0)
                draw.text((left, top + CELL + 2 + line * LINE_HEIGHT), truncate(text, font, CELL), "#1f2430", font)
        path = self.path if not self.pages else self.path.with_stem(f"{self.path.stem}-{len(self.pages) + 1}")
        page.save(path)
        self.pages.append(path)
        self._cells = []


def truncate(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Truncate a text to a width.

    Args:
        text: The text.
        font: Font that it is drawn with.
        width: Maximum width in pixels.
    """
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def _font(*, bold: bool) -> ImageFont.FreeTypeFont:
    """Load the font that ships with Matplotlib; it covers most European scripts."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), 11)

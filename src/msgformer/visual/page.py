"""The shell of every report: sections of tables, plots, pictures and text on one page that needs nothing else.

A task's report is a list of :class:`Section`; nothing here knows what was trained. Every text is escaped when the
page is filled in, and the page forbids itself scripts and the network, so that no name of a class or file can act.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from msgformer.errors import shown
from msgformer.visual.plots import Plot

if TYPE_CHECKING:
    from jinja2 import Template
    from PIL.Image import Image

THUMBNAIL = 144
"""Longest side of a picture in a gallery."""


@dataclass(frozen=True)
class Tile:
    """One number that counts, with its name, and a word on it."""

    label: str
    value: str
    note: str = ""


class Block:
    """What sections are made of; ``kind`` chooses the part of the template that shows it."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Text(Block):
    """A paragraph."""

    kind = "text"
    text: str


@dataclass(frozen=True)
class Tiles(Block):
    """Numbers side by side."""

    kind = "tiles"
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Figure(Block):
    """A plot.

    Attributes:
        plot: The plot.
        alt: What it shows, for who can't see it.
        caption: Under it.
        wide: Give it the page's whole width.
    """

    kind = "figure"
    plot: Plot
    alt: str
    caption: str = ""
    wide: bool = False

    @property
    def source(self) -> str:
        """The plot as an address that holds it; as a picture, an SVG can neither run nor fetch anything."""
        return data_uri(self.plot.svg.encode(), "image/svg+xml")


@dataclass(frozen=True)
class Table(Block):
    """Rows under a header; the first cell names the row.

    Attributes:
        caption: What the table holds.
        header: Titles of the columns.
        rows: Cells.
        texts: How many columns, from the left, are words; those after them are numbers and stand to the right.
        folded: Show only this line until the reader opens it; empty: show the table.
        wide: Give it the page's whole width; a folded one has it.
    """

    kind = "table"
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    texts: int = 1
    folded: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture in a gallery.

    Attributes:
        source: The picture as an address that holds it, by :func:`thumbnail`.
        name: What it is called.
        lines: What is said under it, the first in bold.
        good: Whether what was said of it is right.
    """

    source: str
    name: str
    lines: Sequence[str]
    good: bool


@dataclass(frozen=True)
class Gallery(Block):
    """Pictures side by side."""

    kind = "gallery"
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Code(Block):
    """Text of a file, folded under ``caption``."""

    kind = "code"
    caption: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of the page with a title, which the page's table of contents leads to."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """The title as an address within the page."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: What it is about.
        lead: One line under the title.
        tiles: The numbers that count most.
        sections: The rest.
        footer: Who wrote it, and when.
        notes: What the reader must know before the rest.
    """

    title: str
    lead: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    footer: str = ""
    notes: Sequence[str] = ()

    def render(self) -> str:
        """The page as HTML."""
        return _template().render(page=self)

    def plots(self) -> list[Plot]:
        """All plots on it."""
        return [block.plot for section in self.sections for block in section.blocks if isinstance(block, Figure)]


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("msgformer.visual"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    return environment.get_template("page.html")


def data_uri(content: bytes, media_type: str) -> str:
    """``content`` as an address."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def thumbnail(image: Image) -> str:
    """An RGB picture at THUMBNAIL's size, or its own if it is smaller, as an address that holds it."""
    content = io.BytesIO()
    if max(image.size) <= THUMBNAIL:
        image.save(content, "PNG")
        return data_uri(content.getvalue(), "image/png")
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    small.save(content, "JPEG", quality=85)
    return data_uri(content.getvalue(), "image/jpeg")

"""Self-contained HTML reports: sections of tables, plots, images and text.

A report of a task is a list of `Section`; this module is independent of tasks. All text is escaped by the template, and
the content security policy of the page forbids scripts and network access. Names of classes and files can therefore not
inject code.
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
"""Maximum side of an image in a gallery, in pixels."""


@dataclass(frozen=True)
class Tile:
    """A key number with its name and an optional note."""

    label: str
    value: str
    note: str = ""


class Block:
    """Base class of the elements of a section; ``kind`` selects the part of the template."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Text(Block):
    """A paragraph."""

    kind = "text"
    text: str


@dataclass(frozen=True)
class Figure(Block):
    """A plot.

    Attributes:
        plot: The plot.
        alt: Alternative text.
        caption: Text below the plot.
        wide: Use the full width of the page.
    """

    kind = "figure"
    plot: Plot
    alt: str
    caption: str = ""
    wide: bool = False

    @property
    def source(self) -> str:
        """Data URI of the plot; as an image, an SVG can neither run scripts nor access the network."""
        return data_uri(self.plot.svg.encode(), "image/svg+xml")


@dataclass(frozen=True)
class Table(Block):
    """A table; the first cell of each row is its header.

    Attributes:
        caption: Caption of the table.
        header: Titles of the columns.
        rows: Cells.
        texts: Number of columns of text, from the left; the other columns are numbers and aligned to the right.
        folded: Summary of a collapsed table; empty to show the table.
        wide: Use the full width of the page; collapsed tables always do.
    """

    kind = "table"
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    texts: int = 1
    folded: str = ""
    wide: bool = False


@dataclass(frozen=True)
class GalleryImage:
    """An image in a gallery.

    Attributes:
        source: Data URI of the image, from `thumbnail`.
        name: Name of the image.
        lines: Lines of text below it; the first is bold.
        good: Whether the prediction is correct.
    """

    source: str
    name: str
    lines: Sequence[str]
    good: bool


@dataclass(frozen=True)
class Gallery(Block):
    """Images side by side."""

    kind = "gallery"
    images: Sequence[GalleryImage]


@dataclass(frozen=True)
class Code(Block):
    """Content of a file, collapsed under ``caption``."""

    kind = "code"
    caption: str
    text: str


@dataclass(frozen=True)
class Section:
    """A section of the page with a title; the table of contents links to it."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """Anchor of the section, made from the title."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: Title of the report.
        lead: Line below the title.
        tiles: Key numbers.
        sections: Sections of the report.
        footer: Version and date.
        notes: Notes above the content.
    """

    title: str
    lead: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    footer: str = ""
    notes: Sequence[str] = ()

    def render(self) -> str:
        """Return the page as HTML."""
        return load_template("page.html").render(page=self)

    def plots(self) -> list[Plot]:
        """Return all plots of the page."""
        return [block.plot for section in self.sections for block in section.blocks if isinstance(block, Figure)]


@cache
def load_template(name: str) -> Template:
    """Load a template of a page, which escapes all text.

    Args:
        name: Name of its file in ``templates/``.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("msgformer.visual"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    return environment.get_template(name)


def data_uri(content: bytes, media_type: str) -> str:
    """Encode a file as a data URI.

    Args:
        content: Content of the file.
        media_type: Media type, such as image/png.
    """
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def thumbnail(image: Image, max_side: int = THUMBNAIL) -> str:
    """Encode a small copy of an RGB image as a data URI.

    Args:
        image: The image.
        max_side: Longest side of the copy in pixels; a smaller image is stored losslessly.
    """
    content = io.BytesIO()
    if max(image.size) <= max_side:
        image.save(content, "PNG")
        return data_uri(content.getvalue(), "image/png")
    small = image.copy()
    small.thumbnail((max_side, max_side))
    small.save(content, "JPEG", quality=85)
    return data_uri(content.getvalue(), "image/jpeg")

"""The page to explore what a model did with images: pictures and numbers in one file, drawn by a script of its own.

The page may run that script alone, known by its checksum, and load nothing, so that no name of a file can act.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from msgformer.errors import shown
from msgformer.explanations.messengers import MessengerBlock
from msgformer.explanations.overlay import (
    GRAY,
    GROUP_OPACITY,
    WHITE,
    Explained,
    attention_map,
    crop,
    group_colors,
    heat_colors,
    span,
)
from msgformer.explanations.significance import SignificanceBlock
from msgformer.visual.page import data_uri

if TYPE_CHECKING:
    from jinja2 import Environment

SMALL = 256
"""Longest side up to which a picture is stored without loss."""

MOST_SOURCES = 64
"""Windows that a messenger's routes name where an exchange mixes all of them."""


@dataclass(frozen=True)
class Panel:
    """One of the drawings side by side: its place in the page, its title, and what is to be seen in it."""

    name: str
    title: str
    text: str


MESSENGER_PANELS = (
    Panel(
        "attention",
        "Attention",
        "How each messenger attends to the patches of its window: the least is clear, the most dark red.",
    ),
    Panel("routes", "Routes", "Windows whose messengers the chosen one takes channels from in the exchange."),
    Panel(
        "reach",
        "Receptive field",
        "Inside the blue line: what the chosen messenger can know of after the block, by its routes. Red: how much it "
        "depends on each patch, by gradients (root scale).",
    ),
)
SIGNIFICANCE_PANELS = (
    Panel(
        "significance",
        "Significance",
        "How much attention each token received: the least is clear, the most dark red.",
    ),
    Panel(
        "groups",
        "Token groups of the next block",
        "Tokens of one color are merged to one: blue where little is significant, in large groups, orange where much "
        "is, in small ones. Yellow: the chosen token's group.",
    ),
)


@dataclass(frozen=True)
class ExplainPage:
    """What a model did with images.

    Attributes:
        title: What the page is about.
        lead: One line under the title.
        images: At least one, all of one family's blocks.
        notes: What the reader must know before the rest.
        footer: Who wrote it, and when.
    """

    title: str
    lead: str
    images: Sequence[Explained]
    notes: Sequence[str] = ()
    footer: str = ""

    @property
    def family(self) -> str:
        """What the blocks have: "messengers", as MSG-Transformer's, or "significance"."""
        return "messengers" if isinstance(self.images[0].blocks[0], MessengerBlock) else "significance"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """The drawings of the family."""
        return MESSENGER_PANELS if self.family == "messengers" else SIGNIFICANCE_PANELS

    def data(self) -> dict[str, Any]:
        """What the script draws."""
        heat = base64.b64encode(heat_colors().tobytes()).decode("ascii")
        look = {"heat": heat, "gray": GRAY, "white": WHITE, "groupOpacity": GROUP_OPACITY}
        return {"family": self.family, "look": look, "images": [image_data(image) for image in self.images]}

    def render(self) -> str:
        """The page as HTML."""
        templates = files("msgformer.visual") / "templates"
        parts = [templates.joinpath(name).read_text("utf-8") for name in ("explain.js", f"explain_{self.family}.js")]
        script = "\n".join(["", *parts, "start();", ""])
        checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
        return _environment().get_template("explain.html").render(page=self, script=script, checksum=checksum)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("msgformer.visual"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    return environment


def image_data(image: Explained) -> dict[str, Any]:
    """An image and its blocks as the script takes them."""
    steps = [
        messenger_data(block, image.size) if isinstance(block, MessengerBlock) else significance_data(block)
        for block in image.blocks
    ]
    extent = [
        max(step["rows"] * step["cell"][0] for step in steps),
        max(step["cols"] * step["cell"][1] for step in steps),
    ]
    data = {"name": shown(image.name), "picture": picture_uri(image.picture), "size": image.size, "steps": steps}
    return {**data, "extent": [max(pair) for pair in zip(extent, image.size, strict=True)]}


def messenger_data(block: MessengerBlock, size: tuple[int, int]) -> dict[str, Any]:
    """A block of an MSG-Transformer as the script takes it; ``cell`` is the size of a window in pixels.

    Args:
        block: What was traced.
        size: Height and width of the picture; what lies beyond it doesn't count for the strongest color.
    """
    heads = [None, *range(len(block.attention))]
    attention = block.attention.numpy()
    return {
        "stage": block.stage,
        "block": block.block,
        "rows": block.grid[0],
        "cols": block.grid[1],
        "window": block.window,
        "stride": block.stride,
        "cell": [side * block.stride for side in block.window],
        "attention": _quantized(attention / attention.max(axis=(1, 2), keepdims=True)),
        "tops": attention.max(axis=(1, 2)).tolist(),
        "limits": [span(crop(attention_map(block, head), block.stride, size)) for head in heads],
        "exchange": block.exchange,
        "channels": None if block.routes.sources is None else block.routes.sources.shape[1],
        "routes": route_runs(block),
        "first": {
            "rows": block.first_grid[0],
            "cols": block.first_grid[1],
            "cell": [4 * side for side in block.window],
        },
        "reach": base64.b64encode(np.packbits(block.reach.numpy(), axis=1).tobytes()).decode("ascii"),
        "gradients": {str(at): gradient_data(values.numpy(), block.window) for at, values in block.gradients.items()},
    }


def route_runs(block: MessengerBlock) -> list[list[tuple[int, float]]]:
    """For each window the windows its messenger came from, with their shares.

    Where channels are moved, neighbors of one origin are one entry, in the channels' order; where they are mixed, the
    largest shares come first.
    """
    if block.routes.sources is None:
        shares = block.routes.shares
        order = shares.argsort(dim=1, descending=True)[:, :MOST_SOURCES]
        return [
            [(at, share) for at, share in zip(places, row[places].tolist(), strict=True) if share > 0]
            for places, row in zip(order.tolist(), shares, strict=True)
        ]
    runs = []
    for channels in block.routes.sources.numpy():
        starts = np.flatnonzero(np.diff(channels, prepend=-1))
        lengths = np.diff(starts, append=len(channels)) / len(channels)
        runs.append(list(zip(channels[starts].tolist(), lengths.tolist(), strict=True)))
    return runs


def gradient_data(values: np.ndarray, window: tuple[int, int]) -> dict[str, Any]:
    """Norms of gradients as the script takes them.

    Args:
        values: Of each token of the stem, [H, W]. They become roots of their parts of the largest; what is not zero has
            the least shade at least.
        window: Height and width of the windows of stage 1; it is told how many of them are not zero everywhere.
    """
    roots = (values / max(float(values.max()), np.finfo(np.float32).tiny)) ** 0.5
    shades = np.where(values > 0, np.maximum(roots, 1 / 255), 0)
    touched = np.argwhere(values > 0) // window
    return {
        "rows": values.shape[0],
        "cols": values.shape[1],
        "values": _quantized(shades),
        "windows": len(np.unique(touched, axis=0)),
    }


def significance_data(block: SignificanceBlock) -> dict[str, Any]:
    """A hybrid block of an SG-Former as the script takes it; ``cell`` is the size of a token in pixels."""
    rows, cols = block.significance.shape
    values = block.significance.numpy().astype("<f4")
    return {
        "stage": block.stage,
        "block": block.block,
        "rows": rows,
        "cols": cols,
        "stride": block.stride,
        "cell": [block.stride, block.stride],
        "values": base64.b64encode(values.tobytes()).decode("ascii"),
        "limits": span(values),
        "groups": groups_data(block),
    }


def groups_data(block: SignificanceBlock) -> dict[str, Any] | None:
    """The groups that the next block makes, by both orders, or None where there is no next block."""
    groups = block.groups
    if groups is None:
        return None
    rows, cols = block.significance.shape
    by_row, by_column = (groups.map(order, (rows, cols)) for order in (groups.by_row, groups.by_column))
    return {
        "block": groups.block,
        "sizes": [kind.group for kind in groups.kinds],
        "quarters": [kind.quarters for kind in groups.kinds],
        "kindOfGroup": groups.kind_of_group,
        "colors": base64.b64encode(group_colors(groups.kind_of_group).tobytes()).decode("ascii"),
        "of": base64.b64encode(by_row.numpy().astype("<i4").tobytes()).decode("ascii"),
        "otherwise": int((by_row != by_column).sum()),
    }


def picture_uri(picture: Image.Image) -> str:
    """A picture as an address that holds it."""
    content = io.BytesIO()
    if max(picture.size) <= SMALL:
        picture.save(content, "PNG")
        return data_uri(content.getvalue(), "image/png")
    picture.save(content, "JPEG", quality=88)
    return data_uri(content.getvalue(), "image/jpeg")


def _quantized(values: np.ndarray) -> str:
    """Numbers from 0 to 1 as bytes."""
    return base64.b64encode((255 * values).round().astype(np.uint8).tobytes()).decode("ascii")

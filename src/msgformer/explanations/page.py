"""Interactive HTML page of the traced blocks of a model: images, values and a script in one file.

The content security policy of the page allows only that script, by its checksum, and no network access. Names of files
can therefore not inject code.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image

from msgformer.errors import shown
from msgformer.explanations.messengers import MessengerBlock
from msgformer.explanations.overlay import (
    GRAY,
    GROUP_OPACITY,
    WHITE,
    ExplainedImage,
    attention_map,
    crop,
    group_colors,
    heat_colors,
    heat_range,
)
from msgformer.explanations.significance import SignificanceBlock
from msgformer.visual.page import data_uri, load_template

MAX_LOSSLESS_SIDE = 256
"""Images whose longer side is at most this are stored losslessly."""

MAX_SOURCES = 64
"""Maximum number of source windows per messenger if the exchange mixes all windows."""


@dataclass(frozen=True)
class Panel:
    """One of the canvases side by side: its element ID, title and legend."""

    name: str
    title: str
    text: str


MESSENGER_PANELS = (
    Panel(
        "attention",
        "Attention",
        "Attention of each messenger to the patches of its window, from transparent (lowest) to dark red (highest).",
    ),
    Panel("routes", "Routes", "Windows from which the selected messenger receives channels in the exchange."),
    Panel(
        "reach",
        "Receptive field",
        "Inside the blue line: windows that can influence the selected messenger after the block, by routes. Red: its "
        "gradient norm for each patch (square root scale).",
    ),
)
SIGNIFICANCE_PANELS = (
    Panel(
        "significance",
        "Significance",
        "Attention that each token received, from transparent (lowest) to dark red (highest).",
    ),
    Panel(
        "groups",
        "Token groups of the next block",
        "Tokens of the same color are merged into one. Blue: large groups of the least significant tokens. Orange: "
        "small groups of the most significant tokens. Yellow: the group of the selected token.",
    ),
)


@dataclass(frozen=True)
class ExplainPage:
    """Content of the page.

    Attributes:
        title: Title of the page.
        lead: Line below the title.
        images: At least one image; all blocks are of the same model family.
        notes: Notes above the content.
        footer: Version and date.
    """

    title: str
    lead: str
    images: Sequence[ExplainedImage]
    notes: Sequence[str] = ()
    footer: str = ""

    @property
    def family(self) -> str:
        """Model family: "messengers" (MSG-Transformer) or "significance" (SG-Former)."""
        return "messengers" if isinstance(self.images[0].blocks[0], MessengerBlock) else "significance"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Panels of the model family."""
        return MESSENGER_PANELS if self.family == "messengers" else SIGNIFICANCE_PANELS

    def data(self) -> dict[str, Any]:
        """Return the data for the script."""
        heat = base64.b64encode(heat_colors().tobytes()).decode("ascii")
        look = {"heat": heat, "gray": GRAY, "white": WHITE, "groupOpacity": GROUP_OPACITY}
        return {"family": self.family, "look": look, "images": [image_data(image) for image in self.images]}

    def render(self) -> str:
        """Return the page as HTML."""
        templates = files("msgformer.visual") / "templates"
        parts = [templates.joinpath(name).read_text("utf-8") for name in ("explain.js", f"explain_{self.family}.js")]
        script = "\n".join(["", *parts, "start();", ""])
        checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
        return load_template("explain.html").render(page=self, script=script, checksum=checksum)


def image_data(image: ExplainedImage) -> dict[str, Any]:
    """Return the data of an image and its blocks for the script."""
    steps = [
        messenger_data(block, image.size) if isinstance(block, MessengerBlock) else significance_data(block)
        for block in image.blocks
    ]
    extent = [
        max(step["rows"] * step["cell"][0] for step in steps),
        max(step["cols"] * step["cell"][1] for step in steps),
    ]
    data = {"name": shown(image.name), "source": image_uri(image.image), "size": image.size, "steps": steps}
    return {**data, "extent": [max(pair) for pair in zip(extent, image.size, strict=True)]}


def messenger_data(block: MessengerBlock, size: tuple[int, int]) -> dict[str, Any]:
    """Return the data of an MSG-Transformer block for the script; ``cell`` is the size of a window in pixels.

    Args:
        block: Traced block.
        size: Height and width of the image; padding is ignored for the color scale.
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
        "attention": _quantize(attention / attention.max(axis=(1, 2), keepdims=True)),
        "tops": attention.max(axis=(1, 2)).tolist(),
        "limits": [heat_range(crop(attention_map(block, head), block.stride, size)) for head in heads],
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
    """Return the source windows of each messenger with their shares.

    If the exchange moves channels, adjacent channels from the same window are one entry, in channel order. If it mixes
    channels, the entries are sorted by share, largest first.
    """
    if block.routes.sources is None:
        shares = block.routes.shares
        order = shares.argsort(dim=1, descending=True)[:, :MAX_SOURCES]
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
    """Return gradient norms for the script, as square roots relative to the maximum.

    Args:
        values: Gradient norm of each token of the stem [H, W]. Nonzero values get at least the weakest shade.
        window: Height and width of the windows of stage 1, to count those with nonzero values.
    """
    roots = (values / max(float(values.max()), np.finfo(np.float32).tiny)) ** 0.5
    shades = np.where(values > 0, np.maximum(roots, 1 / 255), 0)
    touched = np.argwhere(values > 0) // window
    return {
        "rows": values.shape[0],
        "cols": values.shape[1],
        "values": _quantize(shades),
        "windows": len(np.unique(touched, axis=0)),
    }


def significance_data(block: SignificanceBlock) -> dict[str, Any]:
    """Return the data of a hybrid block of an SG-Former for the script; ``cell`` is the size of a token in pixels."""
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
        "limits": heat_range(values),
        "groups": groups_data(block),
    }


def groups_data(block: SignificanceBlock) -> dict[str, Any] | None:
    """Return the token groups of the next block, or None if there is no next block."""
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
        "differing": int((by_row != by_column).sum()),
    }


def image_uri(image: Image.Image) -> str:
    """Encode an image as a data URI."""
    content = io.BytesIO()
    if max(image.size) <= MAX_LOSSLESS_SIDE:
        image.save(content, "PNG")
        return data_uri(content.getvalue(), "image/png")
    image.save(content, "JPEG", quality=88)
    return data_uri(content.getvalue(), "image/jpeg")


def _quantize(values: np.ndarray) -> str:
    """Encode numbers from 0 to 1 as bytes, in base64."""
    return base64.b64encode((255 * values).round().astype(np.uint8).tobytes()).decode("ascii")

"""What a model did with an image as pictures for papers: one a block, and an overview of all blocks."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from msgformer.explanations.arrays import block_name
from msgformer.explanations.messengers import MessengerBlock
from msgformer.explanations.overlay import (
    CHOSEN_LINE,
    Explained,
    attention_map,
    crop,
    draw_windows,
    enlarge,
    group_colors,
    lay_groups,
    lay_heat,
    soften,
    spread,
    to_pixels,
    window_box,
)
from msgformer.explanations.significance import SignificanceBlock
from msgformer.visual.plots import style

COLUMNS = 6
INCHES = 2.2
"""Longest side of a block's picture in an overview."""

DPI = 200
SHADE = (40, 46, 58)
"""Color of what a messenger knows nothing of."""

Named = tuple[str, bytes]
Drawn = tuple[str, Image.Image]


def figures(image: Explained, *, each_head: bool) -> Iterator[Named]:
    """All pictures of an image, by names without ending, as PNG.

    Args:
        image: What was traced.
        each_head: Draw the attention of each head as well.
    """
    picture, times = enlarge(image.picture)
    messengers = [block for block in image.blocks if isinstance(block, MessengerBlock)]
    measured = [block for block in image.blocks if isinstance(block, SignificanceBlock)]
    if messengers:
        yield from messenger_figures(picture, times, messengers, each_head=each_head)
    if measured:
        yield from significance_figures(picture, times, measured)


def messenger_figures(
    picture: Image.Image, times: int, blocks: Sequence[MessengerBlock], *, each_head: bool
) -> Iterator[Named]:
    """Attention, routes and receptive fields of an MSG-Transformer's blocks.

    Args:
        picture: The image.
        times: How many times it was enlarged.
        blocks: What was traced.
        each_head: Draw the attention of each head as well.
    """
    overview: list[Drawn] = []
    for block in blocks:
        name = f"attention-{block_name(block)}"
        drawn = draw_attention(picture, times, block)
        overview.append((block_name(block), drawn))
        yield name, png(drawn)
        for head in range(len(block.attention) if each_head else 0):
            yield f"{name}-head-{head + 1}", png(draw_attention(picture, times, block, head))
    yield "attention", sheet(overview)
    routes = [(block_name(block), draw_sources(picture, times, block)) for block in blocks]
    yield "routes", sheet(routes, [partial(draw_arrows, times=times, block=block) for block in blocks])
    yield "receptive-field", sheet([(block_name(block), draw_reach(picture, times, block)) for block in blocks])


def significance_figures(picture: Image.Image, times: int, blocks: Sequence[SignificanceBlock]) -> Iterator[Named]:
    """Significance maps of an SG-Former's hybrid blocks, and the groups that the next blocks make of them."""
    size = (picture.height, picture.width)
    overview: list[Drawn] = []
    for block in blocks:
        values, stride = block.significance.numpy(), block.stride * times
        drawn = lay_heat(picture, to_pixels(spread(values), stride, size))
        overview.append((f"{block_name(block)}: significance", drawn))
        yield f"significance-{block_name(block)}", png(drawn)
        if block.groups is not None:
            groups = block.groups.map(block.groups.by_row, (values.shape[0], values.shape[1])).numpy()
            colors = group_colors(block.groups.kind_of_group)
            drawn = lay_groups(picture, to_pixels(groups, stride, size), colors)
            name = f"{block.stage}.{block.groups.block}"
            overview.append((f"{name}: {values.size} tokens in {len(colors)}", drawn))
            yield f"groups-{name}", png(drawn)
    yield "significance", sheet(overview)


def draw_attention(picture: Image.Image, times: int, block: MessengerBlock, head: int | None = None) -> Image.Image:
    """Messengers' attention to patches over the picture (Figure 4 of the paper), of a head or of all on average."""
    size, stride = (picture.height, picture.width), block.stride * times
    values = spread(crop(attention_map(block, head), stride, size))
    heat = lay_heat(picture, to_pixels(values, stride, size))
    return draw_windows(heat, block.grid, (block.window[0] * stride, block.window[1] * stride))


def shown_window(block: MessengerBlock) -> int:
    """The window whose routes and receptive field are drawn: near the middle, measured by gradients if any is.

    Windows measured around the middle are equally near to it: a place left of it and above makes it the same one of
    them in every block.
    """
    rows, cols = block.grid

    def distance(window: int) -> float:
        return abs((window // cols + 0.5) / rows - 0.45) + abs((window % cols + 0.5) / cols - 0.45)

    return min(block.gradients or range(rows * cols), key=distance)


def draw_sources(picture: Image.Image, times: int, block: MessengerBlock) -> Image.Image:
    """The picture with the windows that the shown one takes from, the stronger colored the more it takes."""
    side = (block.window[0] * block.stride * times, block.window[1] * block.stride * times)
    window, pixels = shown_window(block), soften(picture)
    shares = block.routes.shares[window].numpy()
    for source in np.flatnonzero(shares):
        left, top, right, bottom = window_box(int(source), block.grid, side, picture.size)
        part = pixels[top : bottom + 1, left : right + 1]
        part += (0.15 + 0.45 * shares[source] / shares.max()) * (np.array([240, 140, 30]) - part)
    return draw_windows(Image.fromarray(pixels.round().astype(np.uint8)), block.grid, side, window)


def draw_arrows(axes: Axes, *, times: int, block: MessengerBlock) -> None:
    """Arrows from those windows to the shown one."""
    height, width = (side * block.stride * times for side in block.window)
    window, shares = shown_window(block), block.routes.shares.numpy()

    def center(place: int) -> tuple[float, float]:
        return (place % block.grid[1] + 0.5) * width, (place // block.grid[1] + 0.5) * height

    limits = axes.get_xlim(), axes.get_ylim()
    for source in np.flatnonzero(shares[window]):
        if source != window:
            look = dict(arrowstyle="-|>", color="#1f2430", lw=0.6, alpha=0.8, mutation_scale=6, shrinkA=0, shrinkB=4)
            axes.annotate("", center(window), center(int(source)), arrowprops=look)
    axes.set(xlim=limits[0], ylim=limits[1])


def draw_reach(picture: Image.Image, times: int, block: MessengerBlock) -> Image.Image:
    """What the shown window's messenger knows of: by routing inside the line, by gradients as heat (root scale)."""
    window, rows, cols = shown_window(block), *block.first_grid
    size, stride = (picture.height, picture.width), 4 * times
    pixels = soften(picture)
    if window in block.gradients:
        values = np.sqrt(block.gradients[window].numpy())
        pixels = np.array(lay_heat(picture, to_pixels(values / values.max(), stride, size)), np.float32)
    known = block.reach[window].numpy().reshape(rows, cols)
    side = (block.window[0] * stride, block.window[1] * stride)
    shaded = ~known.repeat(side[0], 0).repeat(side[1], 1)[: size[0], : size[1]]
    pixels[shaded] += 0.47 * (np.array(SHADE) - pixels[shaded])
    drawn = Image.fromarray(pixels.round().astype(np.uint8))
    pen = ImageDraw.Draw(drawn)
    around = np.pad(known, 1)
    for row, col in np.ndindex(rows + 1, cols + 1):
        x, y = min(col * side[1], picture.width - 1), min(row * side[0], picture.height - 1)
        if around[row + 1, col + 1] != around[row, col + 1]:
            pen.line((x, y, x + side[1], y), CHOSEN_LINE, 4)
        if around[row + 1, col + 1] != around[row + 1, col]:
            pen.line((x, y, x, y + side[0]), CHOSEN_LINE, 4)
    own = (block.window[0] * block.stride * times, block.window[1] * block.stride * times)
    pen.rectangle(window_box(window, block.grid, own, picture.size), outline="white", width=2)
    return drawn


def sheet(panels: Sequence[Drawn], more: Sequence[Callable[[Axes], None]] = ()) -> bytes:
    """Pictures in rows with a title each, as PNG.

    Args:
        panels: Titles and pictures of one size.
        more: What to draw on each of them.
    """
    width, height = panels[0][1].size
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    side = INCHES / max(width, height)
    with style():
        figure = Figure(figsize=(columns * width * side, rows * (height * side + 0.25)), layout="constrained")
        for place, (title, picture) in enumerate(panels):
            axes = figure.add_subplot(rows, columns, place + 1)
            axes.imshow(np.asarray(picture), interpolation="antialiased")
            axes.set_title(title, loc="left")
            axes.set_axis_off()
            if more:
                more[place](axes)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return content.getvalue()


def png(picture: Image.Image) -> bytes:
    """A picture as PNG."""
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()

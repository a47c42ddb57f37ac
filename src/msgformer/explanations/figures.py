"""Figures of the traced blocks of a model: one per block, and an overview of all blocks."""

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
    ExplainedImage,
    attention_map,
    crop,
    draw_windows,
    enlarge,
    group_colors,
    normalize_heat,
    overlay_groups,
    overlay_heat,
    to_light_gray,
    to_pixels,
    window_box,
)
from msgformer.explanations.significance import SignificanceBlock
from msgformer.visual.plots import style

COLUMNS = 6
INCHES = 2.2
"""Longer side of a panel in an overview."""

DPI = 200
SHADE = (40, 46, 58)
"""Color of the windows outside a receptive field."""

NamedPng = tuple[str, bytes]
TitledImage = tuple[str, Image.Image]


def figures(explained: ExplainedImage, *, each_head: bool) -> Iterator[NamedPng]:
    """Draw all figures of an image.

    Args:
        explained: Image and traced blocks.
        each_head: Also draw the attention of each head.

    Yields:
        Names without suffix, and PNG files.
    """
    image, scale = enlarge(explained.image)
    messengers = [block for block in explained.blocks if isinstance(block, MessengerBlock)]
    significance = [block for block in explained.blocks if isinstance(block, SignificanceBlock)]
    if messengers:
        yield from messenger_figures(image, scale, messengers, each_head=each_head)
    if significance:
        yield from significance_figures(image, scale, significance)


def messenger_figures(
    image: Image.Image, scale: int, blocks: Sequence[MessengerBlock], *, each_head: bool
) -> Iterator[NamedPng]:
    """Draw the attention, exchange routes and receptive fields of the blocks of an MSG-Transformer.

    Args:
        image: Enlarged image.
        scale: Factor by which it was enlarged.
        blocks: Traced blocks.
        each_head: Also draw the attention of each head.

    Yields:
        Names without suffix, and PNG files.
    """
    overview: list[TitledImage] = []
    for block in blocks:
        name = f"attention-{block_name(block)}"
        drawn = draw_attention(image, scale, block)
        overview.append((block_name(block), drawn))
        yield name, png(drawn)
        for head in range(len(block.attention) if each_head else 0):
            yield f"{name}-head-{head + 1}", png(draw_attention(image, scale, block, head))
    yield "attention", sheet(overview)
    routes = [(block_name(block), draw_sources(image, scale, block)) for block in blocks]
    yield "routes", sheet(routes, [partial(draw_arrows, scale=scale, block=block) for block in blocks])
    yield "receptive-field", sheet([(block_name(block), draw_reach(image, scale, block)) for block in blocks])


def significance_figures(image: Image.Image, scale: int, blocks: Sequence[SignificanceBlock]) -> Iterator[NamedPng]:
    """Draw the significance maps of the hybrid blocks of an SG-Former, and the token groups of the next blocks.

    Args:
        image: Enlarged image.
        scale: Factor by which it was enlarged.
        blocks: Traced blocks.

    Yields:
        Names without suffix, and PNG files.
    """
    size = (image.height, image.width)
    overview: list[TitledImage] = []
    for block in blocks:
        values, stride = block.significance.numpy(), block.stride * scale
        drawn = overlay_heat(image, to_pixels(normalize_heat(values), stride, size))
        overview.append((f"{block_name(block)}: significance", drawn))
        yield f"significance-{block_name(block)}", png(drawn)
        if block.groups is not None:
            groups = block.groups.map(block.groups.by_row, (values.shape[0], values.shape[1])).numpy()
            colors = group_colors(block.groups.kind_of_group)
            drawn = overlay_groups(image, to_pixels(groups, stride, size), colors)
            name = f"{block.stage}.{block.groups.block}"
            overview.append((f"{name}: {values.size} tokens in {len(colors)}", drawn))
            yield f"groups-{name}", png(drawn)
    yield "significance", sheet(overview)


def draw_attention(image: Image.Image, scale: int, block: MessengerBlock, head: int | None = None) -> Image.Image:
    """Draw the attention of the MSG tokens to the patches of their windows (Figure 4 of the MSG-Transformer paper).

    Args:
        image: Enlarged image.
        scale: Factor by which it was enlarged.
        block: Traced block.
        head: Index of the head; None for the mean of all heads.
    """
    size, stride = (image.height, image.width), block.stride * scale
    values = normalize_heat(crop(attention_map(block, head), stride, size))
    heat = overlay_heat(image, to_pixels(values, stride, size))
    return draw_windows(heat, block.grid, (block.window[0] * stride, block.window[1] * stride))


def selected_window(block: MessengerBlock) -> int:
    """Return the window whose routes and receptive field are drawn: the one nearest to a point near the center.

    Windows with measured gradients are preferred. The point is slightly to the upper left of the center, so that ties
    are resolved in the same way in every block.
    """
    rows, cols = block.grid

    def distance(window: int) -> float:
        return abs((window // cols + 0.5) / rows - 0.45) + abs((window % cols + 0.5) / cols - 0.45)

    return min(block.gradients or range(rows * cols), key=distance)


def draw_sources(image: Image.Image, scale: int, block: MessengerBlock) -> Image.Image:
    """Draw the windows that the selected window takes channels from; stronger color means a larger share.

    Args:
        image: Enlarged image.
        scale: Factor by which it was enlarged.
        block: Traced block.
    """
    side = (block.window[0] * block.stride * scale, block.window[1] * block.stride * scale)
    window, pixels = selected_window(block), to_light_gray(image)
    shares = block.routes.shares[window].numpy()
    for source in np.flatnonzero(shares):
        left, top, right, bottom = window_box(int(source), block.grid, side, image.size)
        part = pixels[top : bottom + 1, left : right + 1]
        part += (0.15 + 0.45 * shares[source] / shares.max()) * (np.array([240, 140, 30]) - part)
    return draw_windows(Image.fromarray(pixels.round().astype(np.uint8)), block.grid, side, window)


def draw_arrows(axes: Axes, *, scale: int, block: MessengerBlock) -> None:
    """Draw arrows from the source windows to the selected window.

    Args:
        axes: Axes with the image of `draw_sources`.
        scale: Factor by which the image was enlarged.
        block: Traced block.
    """
    height, width = (side * block.stride * scale for side in block.window)
    window, shares = selected_window(block), block.routes.shares.numpy()

    def center(index: int) -> tuple[float, float]:
        return (index % block.grid[1] + 0.5) * width, (index // block.grid[1] + 0.5) * height

    limits = axes.get_xlim(), axes.get_ylim()
    for source in np.flatnonzero(shares[window]):
        if source != window:
            arrow = dict(arrowstyle="-|>", color="#1f2430", lw=0.6, alpha=0.8, mutation_scale=6, shrinkA=0, shrinkB=4)
            axes.annotate("", center(window), center(int(source)), arrowprops=arrow)
    axes.set(xlim=limits[0], ylim=limits[1])


def draw_reach(image: Image.Image, scale: int, block: MessengerBlock) -> Image.Image:
    """Draw the receptive field of the selected window's MSG token: its outline by routes, its heat by gradients.

    Heat is the square root of the gradient norm.

    Args:
        image: Enlarged image.
        scale: Factor by which it was enlarged.
        block: Traced block.
    """
    window, rows, cols = selected_window(block), *block.first_grid
    size, stride = (image.height, image.width), 4 * scale
    pixels = to_light_gray(image)
    if window in block.gradients:
        values = np.sqrt(block.gradients[window].numpy())
        pixels = np.array(overlay_heat(image, to_pixels(values / values.max(), stride, size)), np.float32)
    reached = block.reach[window].numpy().reshape(rows, cols)
    side = (block.window[0] * stride, block.window[1] * stride)
    shaded = ~reached.repeat(side[0], 0).repeat(side[1], 1)[: size[0], : size[1]]
    pixels[shaded] += 0.47 * (np.array(SHADE) - pixels[shaded])
    drawn = Image.fromarray(pixels.round().astype(np.uint8))
    pen = ImageDraw.Draw(drawn)
    padded = np.pad(reached, 1)
    for row, col in np.ndindex(rows + 1, cols + 1):
        x, y = min(col * side[1], image.width - 1), min(row * side[0], image.height - 1)
        if padded[row + 1, col + 1] != padded[row, col + 1]:
            pen.line((x, y, x + side[1], y), CHOSEN_LINE, 4)
        if padded[row + 1, col + 1] != padded[row + 1, col]:
            pen.line((x, y, x, y + side[0]), CHOSEN_LINE, 4)
    own = (block.window[0] * block.stride * scale, block.window[1] * block.stride * scale)
    pen.rectangle(window_box(window, block.grid, own, image.size), outline="white", width=2)
    return drawn


def sheet(panels: Sequence[TitledImage], annotate: Sequence[Callable[[Axes], None]] = ()) -> bytes:
    """Draw images with titles in rows, as PNG.

    Args:
        panels: Titles and images of the same size.
        annotate: Functions that draw on the axes of each image.
    """
    width, height = panels[0][1].size
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    side = INCHES / max(width, height)
    with style():
        figure = Figure(figsize=(columns * width * side, rows * (height * side + 0.25)), layout="constrained")
        for index, (title, image) in enumerate(panels):
            axes = figure.add_subplot(rows, columns, index + 1)
            axes.imshow(np.asarray(image), interpolation="antialiased")
            axes.set_title(title, loc="left")
            axes.set_axis_off()
            if annotate:
                annotate[index](axes)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return content.getvalue()


def png(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()

"""Plots of reports, as SVG that follows the light or dark color scheme of a page, and as PNG."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from msgformer.errors import shown

COLORS = ("#2f7ed8", "#e8731a", "#1a9e77", "#b5529e", "#8a8d91", "#c9a227")
"""Colors of lines: distinguishable with color blindness, and visible on white and black backgrounds."""

INK = "#1f2430"
"""Color of text and axes. No line uses it, because the SVG replaces it by the color of the reader's color scheme."""

DARK_INK = "#e6e8ec"
"""Color of text and axes in a dark color scheme."""

MAX_LABELS = 25
"""Maximum number of classes for which a confusion matrix shows names and numbers; larger ones show only colors."""

MAX_LABEL_LENGTH = 22
"""Maximum number of characters of a class name beside an axis."""

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.hashsalt": "msgformer",  # the same plot gives the same file
    "svg.fonttype": "none",  # keep text as text: smaller, and in all scripts that the reader's fonts support
    "text.parse_math": False,  # a class may be named "$x$"
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


@dataclass(frozen=True)
class Plot:
    """One plot.

    Attributes:
        name: File name without suffix.
        svg: SVG document with transparent background.
        png: PNG file with white background.
    """

    name: str
    svg: str
    png: bytes


@contextmanager
def style() -> Iterator[None]:
    """Apply the style of this module, independent of the user's matplotlibrc."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        with warnings.catch_warnings():
            # DejaVu lacks some scripts: a PNG then shows boxes instead of letters, an SVG uses the reader's fonts.
            warnings.filterwarnings("ignore", r"Glyph .* missing from")
            yield


def label(name: str) -> str:
    """Return the name of a class, shortened to fit beside an axis."""
    name = shown(name)
    return name if len(name) <= MAX_LABEL_LENGTH else f"{name[: MAX_LABEL_LENGTH - 1]}…"


def finish(name: str, figure: Figure) -> Plot:
    """Render a figure that was drawn within `style`, as SVG and PNG.

    Args:
        name: Name of the plot.
        figure: The figure.
    """
    svg, png = io.StringIO(), io.BytesIO()
    figure.savefig(svg, format="svg", transparent=True)
    figure.savefig(png, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return Plot(name, _adapt(svg.getvalue()), png.getvalue())


def _adapt(svg: str) -> str:
    """Remove metadata and fixed size of an SVG, and make its text and axes follow the reader's color scheme."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    head, _, body = svg.partition(">")
    head = re.sub(r' (?:width|height)="[\d.]+pt"', "", head)
    scheme = f"svg{{color:{INK}}}@media(prefers-color-scheme:dark){{svg{{color:{DARK_INK}}}}}"
    return f"{head}><style>{scheme}</style>{body.replace(INK, 'currentColor')}"


def line_plot(
    name: str,
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    epochs: Sequence[float],
    mark: float | None = None,
    *,
    logarithmic: bool = False,
    from_zero: bool = False,
) -> Plot:
    """Plot values over epochs, in panels side by side.

    Args:
        name: Name of the plot.
        panels: Lines by name, by panel title; unknown values are NaN.
        epochs: Epochs of the values, for all lines.
        mark: Epoch to mark as the best.
        logarithmic: Use a logarithmic y axis.
        from_zero: Start the y axis at zero.
    """
    with style():
        figure = Figure(figsize=(4.6 * len(panels), 3.1), layout="constrained")
        for index, (title, lines) in enumerate(panels.items()):
            axes = figure.add_subplot(1, len(panels), index + 1)
            axes.set_title(title, loc="left")
            marker = "o" if len(epochs) < 25 else ""
            for number, (line, values) in enumerate(lines.items()):
                color, dashes = COLORS[number % len(COLORS)], "-" if number < len(COLORS) else "--"
                axes.plot(epochs, values, dashes, color=color, label=line, marker=marker, markersize=3)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            if logarithmic:
                axes.set_yscale("log")
            if from_zero:
                largest = np.nanmax([0, *(value for values in lines.values() for value in values)])
                axes.set_ylim(0, 1.1 * largest or None)
            if mark is not None:
                axes.axvline(mark, color=INK, linewidth=1, linestyle=":", label=f"best: epoch {mark:g}")
            if len(lines) > 1 or mark is not None:
                axes.legend()
        return finish(name, figure)


def confusion_plot(matrix: np.ndarray, classes: Sequence[str]) -> Plot:
    """Plot a confusion matrix: rows are true classes, columns are predicted classes, colors are fractions of a row.

    Args:
        matrix: Numbers of images [G, G].
        classes: Names of all classes; if there are more than G, adjacent classes are merged into groups.
    """
    totals = np.maximum(matrix.sum(1, keepdims=True), 1)
    percentages = 100 * matrix / totals
    has_names = len(classes) == len(matrix) <= MAX_LABELS
    side = max(3.2, 1.4 + 0.36 * len(matrix)) if has_names else 4.2
    with style():
        figure = Figure(figsize=(side + 0.8, side), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=False)
        # From transparent to opaque, so that empty cells have the color of the page.
        blues = LinearSegmentedColormap.from_list("blues", [(0.13, 0.42, 0.80, 0.0), (0.13, 0.42, 0.80, 1.0)])
        # With many classes, most fractions are small: a logarithmic scale shows them.
        norm: Normalize = Normalize(0, 100) if has_names else LogNorm(0.1, 100, clip=True)
        image = axes.imshow(percentages, cmap=blues, norm=norm, interpolation="nearest")
        figure.colorbar(image, ax=axes, format="%g %%", shrink=0.8, aspect=30)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        if has_names:
            _name_cells(axes, matrix, percentages, [label(name) for name in classes])
        else:
            _number_classes(axes, len(matrix), len(classes))
        return finish("confusion", figure)


def _name_cells(axes: Axes, matrix: np.ndarray, percentages: np.ndarray, names: Sequence[str]) -> None:
    """Show class names along both axes, and the number of images in every nonempty cell."""
    positions = np.arange(len(names))
    short = max(map(len, names)) <= 3
    axes.set_xticks(
        positions, names, rotation=0 if short else 45, ha="center" if short else "right", rotation_mode="anchor"
    )
    axes.set_yticks(positions, names)
    for row, column in np.argwhere(matrix):
        color = "white" if percentages[row, column] > 55 else INK
        axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", color=color, fontsize=8)


def _number_classes(axes: Axes, groups: int, classes: int) -> None:
    """Show class numbers, counted from 1, along both axes of a matrix of groups."""
    positions = np.linspace(0, groups - 1, 6).round()
    numbers = [f"{int(position * classes / groups) + 1}" for position in positions]
    axes.set_xticks(positions, numbers)
    axes.set_yticks(positions, numbers)
    note = "" if groups == classes else f", {classes} in {groups} groups"
    axes.set_xlabel(f"predicted (classes by number{note})")


def reliability_plot(bins: np.ndarray) -> Plot:
    """Plot accuracy over confidence with the diagonal of a calibrated model, above the number of images.

    Args:
        bins: Mean confidence, accuracy (0..1, NaN for empty bins) and number of images of each bin [B, 3].
    """
    confidence, accuracy, images = bins.T
    edges = np.linspace(0, 1, len(bins) + 1)
    filled = images > 0
    with style():
        figure = Figure(figsize=(4.6, 4.6), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        width = 1 / len(bins)
        top.bar(
            edges[:-1][filled], accuracy[filled], width, align="edge", color=COLORS[0], alpha=0.75, label="accuracy"
        )
        top.plot(confidence[filled], accuracy[filled], "o", color=COLORS[1], markersize=4, label="mean of bin")
        top.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":", label="calibrated")
        top.set_ylabel("accuracy")
        top.set_ylim(0, 1)
        top.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
        bottom.bar(edges[:-1], images, width, align="edge", color=COLORS[4], alpha=0.75)
        bottom.set_ylabel("images")
        bottom.set_xlabel("confidence")
        bottom.set_xlim(0, 1)
        return finish("calibration", figure)


def histogram_plot(name: str, title: str, values: Sequence[float], xlabel: str) -> Plot:
    """Plot a histogram of the scores of classes.

    Args:
        name: Name of the plot.
        title: Title of the plot.
        values: Score of each class, in percent.
        xlabel: Name of the score.
    """
    with style():
        figure = Figure(figsize=(4.6, 2.6), layout="constrained")
        axes = figure.add_subplot()
        axes.hist(values, bins=np.linspace(0, 100, 21).tolist(), color=COLORS[0], alpha=0.85)
        axes.set_title(title, loc="left")
        axes.set_xlabel(xlabel)
        axes.set_ylabel("classes")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        return finish(name, figure)

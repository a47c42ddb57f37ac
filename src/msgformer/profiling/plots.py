"""Plots of latency by image size and of throughput by batch size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, LogLocator, NullLocator

from msgformer.visual.plots import COLORS, Plot, finish, style

LINE_STYLES = ("-", "--", ":", "-.")
"""Styles that distinguish lines of the same color, if there are more lines than colors."""


class Point(NamedTuple):
    """One measurement.

    Attributes:
        line: Name of the model and backend.
        batch: Images per batch.
        size: Height and width of the images.
        ms: Median milliseconds per batch.
        low_ms: Lower quartile.
        high_ms: Upper quartile.
    """

    line: str
    batch: int
    size: tuple[int, int]
    ms: float
    low_ms: float
    high_ms: float

    @property
    def side(self) -> float:
        """Side of the square with the same area."""
        return math.sqrt(self.size[0] * self.size[1])


def latency_plot(points: Sequence[Point]) -> Plot:
    """Plot milliseconds per batch over the image size, with one panel per batch size."""
    panels = {f"batch {batch}": [one for one in points if one.batch == batch] for batch in _sorted(points, "batch")}
    return _plot(
        "latency", panels, "side of the image, in pixels", "ms per batch", lambda one: one.side, lambda ms, _: ms
    )


def throughput_plot(points: Sequence[Point]) -> Plot:
    """Plot images per second over the batch size, with one panel per image size."""
    panels = {f"{size[0]} x {size[1]}": [one for one in points if one.size == size] for size in _sorted(points, "size")}
    return _plot(
        "throughput", panels, "batch", "images per second", lambda one: one.batch, lambda ms, one: 1000 * one.batch / ms
    )


def _sorted(points: Sequence[Point], name: str) -> list[Any]:
    return sorted({getattr(point, name) for point in points})


def _plot(
    name: str,
    panels: dict[str, list[Point]],
    xlabel: str,
    ylabel: str,
    x: Callable[[Point], float],
    y: Callable[[float, Point], float],
) -> Plot:
    """Plot medians as lines and quartiles as error bars, on logarithmic axes, in panels side by side.

    Args:
        name: Name of the plot.
        panels: Points by panel title.
        xlabel: Label of the x axis.
        ylabel: Label of the y axis.
        x: Returns the x value of a point.
        y: Returns the y value for a time in milliseconds of a point.
    """
    with style():
        figure = Figure(figsize=(4.6 * len(panels), 3.6), layout="constrained")
        several = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, points) in zip(several, panels.items(), strict=True):
            axes.set_title(title, loc="left")
            axes.set_xlabel(xlabel)
            _draw_lines(axes, points, x, y)
        several[0].set_ylabel(ylabel)
        _set_ticks(several[0])
        handles, labels = several[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=max(1, len(panels)))
        return finish(name, figure)


def _draw_lines(
    axes: Axes, points: Sequence[Point], x: Callable[[Point], float], y: Callable[[float, Point], float]
) -> None:
    lines = list(dict.fromkeys(point.line for point in points))
    for number, (line, color) in enumerate(zip(lines, cycle(COLORS), strict=False)):
        found = sorted((point for point in points if point.line == line), key=x)
        medians = [y(one.ms, one) for one in found]
        quartiles = [sorted((y(one.low_ms, one), y(one.high_ms, one))) for one in found]
        bars = [[median - low for median, (low, _) in zip(medians, quartiles, strict=True)]]
        bars.append([high - median for median, (_, high) in zip(medians, quartiles, strict=True)])
        axes.errorbar(
            [x(one) for one in found],
            medians,
            bars,
            color=color,
            linestyle=LINE_STYLES[number // len(COLORS) % len(LINE_STYLES)],
            marker="o",
            markersize=3,
            label=line,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({x(point) for point in points})
    axes.set_xticks(ticks, [f"{round(tick)}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _set_ticks(axes: Axes) -> None:
    """Label the y axis with plain numbers: powers of ten need math text, which these plots do not render."""
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 10 * low else AutoLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())

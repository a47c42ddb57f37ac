"""How times grow with images and batches, as plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, LogLocator, NullLocator

from msgformer.visual.plots import COLORS, Plot, finish, style

LINE_STYLES = ("-", "--", ":", "-.")
"""Of lines that have the same color, when there are more of them than colors."""


class Point(NamedTuple):
    """A time that was measured.

    Attributes:
        line: What was timed.
        batch: Images at once.
        size: Their height and width.
        ms: Median milliseconds of a batch.
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
        """Side of the square of the same area."""
        return (self.size[0] * self.size[1]) ** 0.5


def latency_plot(points: Sequence[Point]) -> Plot:
    """Milliseconds of a batch by the image's size, one panel a batch."""
    panels = {f"batch {batch}": [one for one in points if one.batch == batch] for batch in _sorted(points, "batch")}
    return _plot(
        "latency", panels, "side of the image, in pixels", "ms a batch", lambda one: one.side, lambda ms, _: ms
    )


def throughput_plot(points: Sequence[Point]) -> Plot:
    """Images a second by the batch, one panel a size."""
    panels = {f"{size[0]} x {size[1]}": [one for one in points if one.size == size] for size in _sorted(points, "size")}
    return _plot(
        "throughput", panels, "batch", "images a second", lambda one: one.batch, lambda ms, one: 1000 * one.batch / ms
    )


def _sorted(points: Sequence[Point], name: str) -> list:
    return sorted({getattr(point, name) for point in points})


def _plot(
    name: str,
    panels: dict[str, list[Point]],
    xlabel: str,
    ylabel: str,
    place: Callable[[Point], float],
    value: Callable[[float, Point], float],
) -> Plot:
    """Medians as lines and quartiles as bars, on logarithmic axes, in panels side by side.

    Args:
        name: Of the plot.
        panels: Points by the title of their panel.
        xlabel: Of the axis of ``place``.
        ylabel: Of the axis of ``value``.
        place: Where a point lies.
        value: What a time of a point stands for.
    """
    with style():
        figure = Figure(figsize=(4.6 * len(panels), 3.6), layout="constrained")
        several = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, points) in zip(several, panels.items(), strict=True):
            axes.set_title(title, loc="left")
            axes.set_xlabel(xlabel)
            _draw_lines(axes, points, place, value)
        several[0].set_ylabel(ylabel)
        _mark_values(several[0])
        handles, labels = several[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=max(1, len(panels)))
        return finish(name, figure)


def _draw_lines(
    axes: Axes, points: Sequence[Point], place: Callable[[Point], float], value: Callable[[float, Point], float]
) -> None:
    lines = list(dict.fromkeys(point.line for point in points))
    for number, (line, color) in enumerate(zip(lines, cycle(COLORS), strict=False)):
        found = sorted((point for point in points if point.line == line), key=place)
        middle = [value(one.ms, one) for one in found]
        ends = [sorted((value(one.low_ms, one), value(one.high_ms, one))) for one in found]
        bars = [[mid - low for mid, (low, _) in zip(middle, ends, strict=True)]]
        bars.append([high - mid for mid, (_, high) in zip(middle, ends, strict=True)])
        look = LINE_STYLES[number // len(COLORS) % len(LINE_STYLES)]
        axes.errorbar(
            [place(one) for one in found],
            middle,
            bars,
            color=color,
            linestyle=look,
            marker="o",
            markersize=3,
            label=line,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({place(point) for point in points})
    axes.set_xticks(ticks, [f"{round(tick)}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _mark_values(axes: Axes) -> None:
    """Plain numbers beside the axis: powers of ten would be mathematics, which these plots show as it is typed."""
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 10 * low else AutoLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())

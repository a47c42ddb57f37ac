"""A table of ablations as a plot: what was measured, with its spread, beside what was published."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msgformer.visual.plots import COLORS, Plot, finish, style

Row = tuple[str, Sequence[float], float | None]
"""Name, scores of all runs in percent, and the published one."""


def study_plot(title: str, rows: Sequence[Row]) -> Plot:
    """Rows from top to bottom; on the left every run, their mean and standard deviation, on the right the published.

    Args:
        title: Over it.
        rows: At least one.
    """
    places = -np.arange(len(rows))
    with style():
        figure = Figure(figsize=(8.4, 1.1 + 0.36 * len(rows)), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        known = any(published is not None for _, _, published in rows)
        panels = figure.subplots(1, 2 if known else 1, sharey=True, squeeze=False, width_ratios=[3, 2][: 1 + known])[0]
        _draw_runs(panels[0], places, rows)
        panels[0].set_yticks(places, [name for name, _, _ in rows])
        if known:
            published = [np.nan if value is None else value for _, _, value in rows]
            panels[1].plot(published, places, "D", color=COLORS[1], markersize=5)
            panels[1].set_xlabel("published top-1 on ImageNet-1k, %")
        return finish("table", figure)


def _draw_runs(axes: Axes, places: np.ndarray, rows: Sequence[Row]) -> None:
    for place, (_, scores, _) in zip(places, rows, strict=True):
        spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
        axes.errorbar(np.mean(scores), place, xerr=spread, fmt="o", color=COLORS[0], markersize=6, capsize=3)
        axes.plot(scores, [place] * len(scores), "|", color=COLORS[4], markersize=10)
    axes.set_xlabel("measured top-1, %")

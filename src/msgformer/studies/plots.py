"""Plot of an ablation table: measured scores with their spread, beside the published scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msgformer.visual.plots import COLORS, Plot, finish, style

Row = tuple[str, Sequence[float], float | None]
"""Name, scores of all runs in percent, and the published score."""


def study_plot(title: str, rows: Sequence[Row]) -> Plot:
    """Plot the rows: every run with mean and standard deviation on the left, the published scores on the right.

    Args:
        title: Title of the plot.
        rows: At least one row, from top to bottom.
    """
    positions = -np.arange(len(rows))
    with style():
        figure = Figure(figsize=(8.4, 1.1 + 0.36 * len(rows)), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        has_published = any(published is not None for _, _, published in rows)
        num_panels = 2 if has_published else 1
        panels = figure.subplots(1, num_panels, sharey=True, squeeze=False, width_ratios=[3, 2][:num_panels])[0]
        _draw_runs(panels[0], positions, rows)
        panels[0].set_yticks(positions, [name for name, _, _ in rows])
        if has_published:
            published = [np.nan if value is None else value for _, _, value in rows]
            panels[1].plot(published, positions, "D", color=COLORS[1], markersize=5)
            panels[1].set_xlabel("published top-1 on ImageNet-1k, %")
        return finish("table", figure)


def _draw_runs(axes: Axes, positions: np.ndarray, rows: Sequence[Row]) -> None:
    for position, (_, scores, _) in zip(positions, rows, strict=True):
        spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
        axes.errorbar(np.mean(scores), position, xerr=spread, fmt="o", color=COLORS[0], markersize=6, capsize=3)
        axes.plot(scores, [position] * len(scores), "|", color=COLORS[4], markersize=10)
    axes.set_xlabel("measured top-1, %")

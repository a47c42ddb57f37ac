"""Sections of a report for any task: learning curves, throughput, configuration and environment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgformer.visual.page import Block, Code, Figure, Section, Table, Text
from msgformer.visual.plots import line_plot

Row = Mapping[str, float]
"""Metrics of one epoch by name; an unknown value is NaN."""

TITLES = {
    "loss": "Loss",
    "top1": "Accuracy in %",
    "top5": "Accuracy in %",
    "miou": "Mean IoU in %",
    "pixel_accuracy": "Accuracy in %",
    "mean_accuracy": "Accuracy in %",
}
"""Titles of panels by metric; other metrics have their name as the title."""

MAX_UNFOLDED_EPOCHS = 12
"""Largest number of epochs for which the table of metrics isn't folded."""


def learning_section(rows: Sequence[Row], best: int, facts: Sequence[tuple[str, str]]) -> Section:
    """Build the section of learning curves and learning rate.

    Metrics of one kind, such as ``train/loss`` and ``val/loss``, or ``val/top1`` and ``val/top5``, share a panel.

    Args:
        rows: Metrics by epoch.
        best: Number of the best epoch.
        facts: Names and values in the table beside the curves.
    """
    epochs = [row["epoch"] for row in rows]
    panels: dict[str, dict[str, Sequence[float]]] = {}
    for column in rows[0]:
        if column not in ("epoch", "step", "lr", "seconds") and (panel := _panel(column)):
            panels.setdefault(panel, {})[column] = [row[column] for row in rows]
    curves = line_plot("learning_curves", panels, epochs, best)
    rate = line_plot("learning_rate", {"Learning rate": {"lr": [row["lr"] for row in rows]}}, epochs, from_zero=True)
    alt = f"{' and '.join(panels)} by epoch; the numbers are in metrics.csv."
    blocks: list[Block] = [
        Figure(curves, alt, wide=True),
        Figure(rate, "The learning rate by epoch.", "The rate reached at the end of each epoch."),
    ]
    return Section("Learning", [*blocks, Table("Run", ("Property", "Value"), facts, texts=2), _metrics_table(rows)])


def _panel(column: str) -> str | None:
    """Return the title of a column's panel; None for a column that only the table shows."""
    group, _, measure = column.rpartition("/")
    measure = measure.removeprefix("ema_")
    if group == "train" and measure.startswith("loss_"):
        # A cascade has one term per stage: too many lines for a panel.
        return None if measure[-1].isdigit() else "Terms of the loss"
    if measure.startswith(("box_", "mask_")):
        kind, _, number = measure.partition("_")
        return f"{kind.capitalize()} AP in %" if number in ("ap", "ap50", "ap75") else None
    return TITLES.get(measure, measure)


def _metrics_table(rows: Sequence[Row]) -> Table:
    header = list(rows[0])
    cells = [[f"{row[column]:.6g}" for column in header] for row in rows]
    folded = "" if len(rows) <= MAX_UNFOLDED_EPOCHS else f"Metrics of all {len(rows)} epochs"
    return Table("Metrics by epoch", header, cells, texts=0, folded=folded, wide=True)


def throughput_section(rows: Sequence[Row], train_images: int, val_images: int) -> Section:
    """Build the section of throughput.

    Args:
        rows: Metrics by epoch, with the time of training and validation in ``seconds``.
        train_images: Training images per epoch.
        val_images: Validation images per epoch.
    """
    images = train_images + val_images
    panels = {
        "Images per second": {"images/s": [images / row["seconds"] for row in rows]},
        "Seconds per epoch": {"seconds": [row["seconds"] for row in rows]},
    }
    plot = line_plot("throughput", panels, [row["epoch"] for row in rows], from_zero=True)
    total = math.fsum(row["seconds"] for row in rows)
    text = (
        f"{len(rows)} epochs in {duration(total)}: {len(rows) * images / total:,.1f} images per second, counting"
        f" {train_images:,} training images and {val_images:,} validation images per epoch."
    )
    return Section("Throughput", [Text(text), Figure(plot, "Images per second, and seconds, by epoch.", wide=True)])


def duration(seconds: float) -> str:
    """Format a duration: ``4.2 s``, ``3 min 20 s``, ``5 h 7 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def configuration_section(text: str) -> Section:
    """Build the section of the configuration in YAML."""
    return Section("Configuration", [Code("config.yaml, which repeats the run", text)])


def environment_section(starts: Sequence[Mapping[str, Any]]) -> Section:
    """Build the section of code, machine, data and packages.

    Args:
        starts: Content of ``environment.json``: one description per start of the training.
    """
    blocks: list[Block] = []
    for number, start in enumerate(starts):
        rows = [*_name_values(start["code"], "code"), ("Python", start["python"]), *_name_values(start["machine"])]
        title = "Started" if number == 0 else "Resumed"
        blocks.append(Table(f"{title} {start['time']}", ("Property", "Value"), rows, texts=2))
    latest = starts[-1]
    blocks.append(_data_table(latest["data"]))
    packages = sorted(latest["packages"].items(), key=lambda item: item[0].lower())
    blocks.append(Table("Packages", ("Package", "Version"), packages, texts=2, folded=f"{len(packages)} packages"))
    return Section("Environment", blocks)


def _data_table(data: Mapping[str, Any]) -> Table:
    rows = []
    for subset in ("train", "val", "test"):
        if subset not in data:
            continue
        counts = data[subset]["classes"]
        per_class = f" in {len(counts):,} classes, {min(counts.values()):,} to {max(counts.values()):,} per class"
        has_classes = set(counts) != {""}  # images of a detector or a segmenter have no class of their own
        rows.append((subset, f"{data[subset]['images']:,} images{per_class if has_classes else ''}"))
        rows.append((f"{subset}, SHA-256 of the names", data[subset]["sha256"]))
    return Table("Data", ("Property", "Value"), [("folder", data["path"] or "bundled"), *rows], texts=2)


def _name_values(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return names, after a prefix, and values as text; None values are left out."""
    named = ((f"{prefix} {key}".strip().replace("_", " "), value) for key, value in values.items() if value is not None)
    return [(key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)) for key, value in named]

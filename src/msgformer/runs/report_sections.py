"""What a report says about any training: how it went, how fast, from which settings, and on what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgformer.visual.page import Block, Code, Figure, Section, Table, Text
from msgformer.visual.plots import line_plot

Row = Mapping[str, float]
"""Columns of one epoch by name; a value that isn't known is not a number."""

TITLES = {
    "loss": "Loss",
    "top1": "Accuracy in %",
    "top5": "Accuracy in %",
    "miou": "Mean IoU in %",
    "pixel_accuracy": "Accuracy in %",
    "mean_accuracy": "Accuracy in %",
}
"""Titles of the panels of some measures; the others have their names."""

MOST_EPOCHS = 12
"""Epochs that the table of metrics shows in the open."""


def learning_section(rows: Sequence[Row], best: int, facts: Sequence[tuple[str, str]]) -> Section:
    """Learning curves and the learning rate.

    Args:
        rows: Metrics by epoch: columns that end with ``loss`` share a panel, those with ``top1`` or ``top5`` another,
            and likewise every other measure of the validation; ``lr`` has a plot of its own. Of a detector's numbers
            AP is shown, and further terms of its loss.
        best: The best epoch.
        facts: Names and values to know beside the curves.
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
    return Section("Learning", [*blocks, Table("Run", ("What", "Which"), facts, texts=2), _metrics_table(rows)])


def _panel(column: str) -> str | None:
    """The title of the panel that a column belongs to; None for one that only the table shows."""
    group, _, measure = column.rpartition("/")
    measure = measure.removeprefix("ema_")
    if group == "train" and measure.startswith("loss_"):
        # A cascade has those of each stage: too many lines for a panel.
        return None if measure[-1].isdigit() else "Terms of the loss"
    if measure.startswith(("box_", "mask_")):
        kind, _, number = measure.partition("_")
        return f"{kind.capitalize()} AP in %" if number in ("ap", "ap50", "ap75") else None
    return TITLES.get(measure, measure)


def _metrics_table(rows: Sequence[Row]) -> Table:
    header = list(rows[0])
    cells = [[f"{row[column]:.6g}" for column in header] for row in rows]
    folded = "" if len(rows) <= MOST_EPOCHS else f"Metrics of all {len(rows)} epochs"
    return Table("Metrics by epoch", header, cells, texts=0, folded=folded, wide=True)


def throughput_section(rows: Sequence[Row], train_images: int, val_images: int) -> Section:
    """How fast the run was.

    Args:
        rows: Metrics by epoch, with ``seconds``, the time that training and validation took together.
        train_images: Images that an epoch trains on.
        val_images: Images that it validates on.
    """
    images = train_images + val_images
    panels = {
        "Images a second": {"images/s": [images / row["seconds"] for row in rows]},
        "Seconds an epoch": {"seconds": [row["seconds"] for row in rows]},
    }
    plot = line_plot("throughput", panels, [row["epoch"] for row in rows], from_zero=True)
    total = math.fsum(row["seconds"] for row in rows)
    text = (
        f"{len(rows)} epochs in {duration(total)}: {len(rows) * images / total:,.1f} images a second, counting the"
        f" {train_images:,} images that an epoch trains on and the {val_images:,} that it validates on."
    )
    return Section("Throughput", [Text(text), Figure(plot, "Images a second, and seconds, by epoch.", wide=True)])


def duration(seconds: float) -> str:
    """A time in words: ``4.2 s``, ``3 min 20 s``, ``5 h 7 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def configuration_section(text: str) -> Section:
    """The settings as YAML."""
    return Section("Configuration", [Code("config.yaml, which repeats the run", text)])


def environment_section(starts: Sequence[Mapping[str, Any]]) -> Section:
    """What ran on what.

    Args:
        starts: What ``environment.json`` holds: one description for each time the training was started.
    """
    blocks: list[Block] = []
    for number, start in enumerate(starts):
        rows = [*_flat(start["code"], "code"), ("Python", start["python"]), *_flat(start["machine"])]
        title = "Begun" if number == 0 else "Resumed"
        blocks.append(Table(f"{title} {start['time']}", ("What", "Which"), rows, texts=2))
    latest = starts[-1]
    blocks.append(_data_table(latest["data"]))
    packages = sorted(latest["packages"].items(), key=lambda item: item[0].lower())
    blocks.append(Table("Packages", ("Package", "Version"), packages, texts=2, folded=f"{len(packages)} packages"))
    return Section("Environment", blocks)


def _data_table(data: Mapping[str, Any]) -> Table:
    rows = []
    for subset in ("train", "val"):
        counts = data[subset]["classes"]
        spread = f" in {len(counts):,} classes, {min(counts.values()):,} to {max(counts.values()):,} a class"
        named = set(counts) != {""}  # an image of a detector or a segmenter has no class of its own
        rows.append((subset, f"{data[subset]['images']:,} images{spread if named else ''}"))
        rows.append((f"{subset}, SHA-256 of the names", data[subset]["sha256"]))
    return Table("Data", ("What", "Which"), [("folder", data["path"] or "embedded"), *rows], texts=2)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names and values as words; nothing of what isn't known."""
    named = ((f"{prefix} {key}".strip().replace("_", " "), value) for key, value in values.items() if value is not None)
    return [(key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)) for key, value in named]

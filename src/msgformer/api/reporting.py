"""A run's report, put together from what its folder holds and from what its model says about the held-out images."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from lightning import Trainer

from msgformer.api.answering import Answerer
from msgformer.api.dense_reporting import DenseScored, score_with_examples
from msgformer.api.dense_scoring import Looking
from msgformer.api.provenance import read_starts
from msgformer.api.runs import CONFIG_FILE
from msgformer.api.scoring import Scored, score
from msgformer.api.train_settings import TrainSettings
from msgformer.data.split import read_split
from msgformer.errors import UserError
from msgformer.insight.classification import headline, outcome_sections
from msgformer.insight.page import Page, Section, Tile
from msgformer.insight.run import (
    Row,
    configuration_section,
    duration,
    environment_section,
    learning_section,
    throughput_section,
)
from msgformer.training.checkpoint import BEST, ModelCard, read_checkpoint, write_atomically
from msgformer.training.run_files import METRICS_FILE

REPORT_FILE = "report.html"
PLOTS = "plots"

Ask = Callable[[], Scored | DenseScored]
"""Asks a model about the held-out images, whatever its task."""


def write_report(run: Path, ask: Ask | None, notes: list[str] | None = None) -> list[Path]:
    """Write ``report.html``, and each of its plots as a PNG into ``plots/``.

    Args:
        run: Run folder in which an epoch at least is done.
        ask: Asks the model about the held-out images; None leaves out what is said about them.
        notes: What the reader must know first.

    Returns:
        The plots.

    Raises:
        UserError: the folder holds no metrics or no checkpoint, or they are damaged.
    """
    page = build_page(run, ask, notes or [])
    folder = run / PLOTS
    folder.mkdir(exist_ok=True)
    paths = []
    for plot in page.plots():
        paths.append(folder / f"{plot.name}.png")
        paths[-1].write_bytes(plot.png)
    text = page.render()
    write_atomically(run / REPORT_FILE, lambda path: path.write_text(text, encoding="utf-8"))
    return paths


def leave_report(run: Path, ask: Ask | None) -> None:
    """Write a report at the end of a training, which must not fail for it: what is missing is told in a line.

    Args:
        run: Run folder in which an epoch at least is done.
        ask: As for :func:`write_report`; None if the training was stopped, and whoever did it is waiting.
    """
    again = f"'msgformer report {run}' makes a whole one"
    notes = [] if ask else [f"The training was stopped, so that its images weren't scored; {again}."]
    try:
        try:
            write_report(run, ask, notes)
        except UserError as error:
            if ask is None:
                raise
            print(f"the report lacks the scores of images: {error}; {again}", file=sys.stderr, flush=True)
            write_report(run, None, [f"The images couldn't be scored: {error}; {again}."])
    except (OSError, UserError) as error:
        print(f"no report was written: {error}; {again}", file=sys.stderr, flush=True)


def scoring(run: Path, settings: TrainSettings, trainer: Trainer) -> Ask:
    """Asks the best model of a training about the held-out images, on the training's first device."""
    machine = settings.trainer
    if settings.task != "classify":
        looking = Looking(1, settings.workers, machine.accelerator, machine.precision, machine.progress)
        return lambda: score_with_examples(run / BEST, None, looking)
    device = trainer.strategy.root_device

    def ask() -> Scored:
        devices = 1 if device.index is None else [device.index]
        answerer = Answerer(run / BEST, machine.accelerator, machine.precision, devices=devices)
        options = settings.on_bad_image, settings.batch_size, settings.workers, machine.progress
        return score(run / BEST, answerer, None, *options)

    return ask


def build_page(run: Path, ask: Ask | None, notes: list[str]) -> Page:
    """The report as a page; the arguments and errors are those of :func:`write_report`."""
    rows = read_rows(run)
    checkpoint = read_checkpoint(run / BEST)
    card, best = ModelCard.read(checkpoint, run / BEST), int(checkpoint["epoch"]) + 1
    scored = ask() if ask is not None else None
    tiles, middle = _outcome(scored) if scored is not None else (_last_scores(rows, best), [])
    data = card.data.get("path") or "embedded data"
    return Page(
        title=run.resolve().name,
        lead=f"{card.model} on {data}, epoch {best}, the best of {len(rows)}",
        tiles=tiles,
        sections=[
            learning_section(rows, best, _facts(card, rows, scored)),
            *middle,
            *_throughput(run, rows),
            configuration_section((run / CONFIG_FILE).read_text(encoding="utf-8")),
            *([environment_section(starts)] if (starts := read_starts(run)) else []),
        ],
        footer=f"Written by msgformer {version('msgformer')} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        notes=notes,
    )


def read_rows(run: Path) -> list[Row]:
    """The run's table of metrics; a cell that is empty is not a number.

    Raises:
        UserError: there is none, or it isn't one.
    """
    path = run / METRICS_FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows: list[Row] = [
                {name: float(value) if value else math.nan for name, value in row.items()}
                for row in csv.DictReader(file)
            ]
    except FileNotFoundError:
        rows = []
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} isn't a table of metrics ({error}); restore it") from error
    if not rows or not {"epoch", "lr"} <= rows[0].keys():
        raise UserError(f"run: no epoch is done in {run} ({METRICS_FILE} tells none), so there is nothing to report")
    return rows


def _outcome(scored: Scored | DenseScored) -> tuple[list[Tile], list[Section]]:
    if isinstance(scored, DenseScored):
        return scored.tiles, scored.sections
    tiles = headline(scored.outcome)
    if scored.skipped:
        tiles.append(Tile("Left out", f"{len(scored.skipped):,}", "images that can't be read"))
    return tiles, outcome_sections(scored.outcome, scored.name, scored.picture)


def _last_scores(rows: list[Row], best: int) -> list[Tile]:
    """The best epoch's validation as the table of metrics has it."""
    row = next((row for row in rows if row["epoch"] == best), rows[-1])
    return [Tile(name, f"{value:.4g}", f"epoch {row['epoch']:g}") for name, value in row.items() if "val/" in name]


def _facts(card: ModelCard, rows: list[Row], scored: Scored | DenseScored | None) -> list[tuple[str, str]]:
    size = card.preprocessing.get("input_size")
    known = {
        "Model": card.model,
        "Task": card.task,
        "Parameters": scored and f"{_parameters(scored):,}",
        "Classes": f"{len(card.classes):,}",
        "Image size": size and f"{size[1]} x {size[2]}",
        "Data": card.data.get("path") or "embedded",
        "Scored on": scored and _scored_on(scored),
        "Epochs": str(len(rows)),
        "Training time": duration(math.fsum(row["seconds"] for row in rows)) if "seconds" in rows[0] else None,
    }
    return [(name, value) for name, value in known.items() if value]


def _parameters(scored: Scored | DenseScored) -> int:
    return scored.parameters if isinstance(scored, DenseScored) else scored.answerer.parameters


def _scored_on(scored: Scored | DenseScored) -> str:
    if isinstance(scored, DenseScored):
        return f"{scored.result.data}, {scored.result.images:,} images"
    return f"{scored.data}, {len(scored.outcome):,} images"


def _throughput(run: Path, rows: list[Row]) -> list[Section]:
    timed = [row for row in rows if row.get("seconds", math.nan) > 0]
    counts = [len(read_split(run, subset) or []) for subset in ("train", "val")]
    return [throughput_section(timed, *counts)] if timed and all(counts) else []

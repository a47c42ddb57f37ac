"""A run's report, put together from what its folder holds and from what its model says about the held-out images."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from msgformer.checkpoints.card import ModelCard
from msgformer.checkpoints.checkpoint_file import read_checkpoint, write_atomically
from msgformer.checkpoints.model_location import BEST, find_model
from msgformer.config.data_options import OnBadImage
from msgformer.data.loading.split import read_split
from msgformer.errors import UserError
from msgformer.runs.output_folder import CONFIG_FILE
from msgformer.runs.provenance import read_starts
from msgformer.runs.report_sections import (
    Row,
    configuration_section,
    duration,
    environment_section,
    learning_section,
    throughput_section,
)
from msgformer.runs.train_settings import TrainSettings
from msgformer.tasks import get_task
from msgformer.tasks.evaluation import Evaluation, EvaluationOptions
from msgformer.tasks.opened_model import open_model
from msgformer.tasks.prediction.predictor import InferenceConfig
from msgformer.training.run_files import METRICS_FILE
from msgformer.visual.page import Page, Section, Tile

if TYPE_CHECKING:
    from lightning import Trainer

REPORT_FILE = "report.html"
PLOTS = "plots"

Ask = Callable[[], Evaluation]
"""Scores a model on the held-out images."""


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


def score_for_report(
    checkpoint: Path, data: str | None, config: InferenceConfig, on_bad_image: OnBadImage = "stop"
) -> Ask:
    """Return what scores a checkpoint with examples for a report.

    Args:
        checkpoint: The weights.
        data: Images to score on; None for those that the run held out.
        config: Device, number format and batches.
        on_bad_image: At images that can't be read, "stop", or "skip" and count them.
    """

    def ask() -> Evaluation:
        model = open_model(find_model(checkpoint))
        return model.task.evaluate(model, data, config, EvaluationOptions(on_bad_image, with_examples=True))

    return ask


def score_at_end(run: Path, settings: TrainSettings, trainer: Trainer) -> Ask:
    """Return what scores the best epoch of a training on the held-out images, on the training's first device."""
    machine, device = settings.trainer, trainer.strategy.root_device
    batch_size = get_task(settings.task).report_batch_size(settings.batch_size)
    config = InferenceConfig(str(device), machine.precision, batch_size, settings.workers, machine.progress)
    return score_for_report(run / BEST, None, config, settings.on_bad_image)


def build_page(run: Path, ask: Ask | None, notes: list[str]) -> Page:
    """The report as a page; the arguments and errors are those of :func:`write_report`."""
    rows = read_rows(run)
    checkpoint = read_checkpoint(run / BEST)
    card, best = ModelCard.read(checkpoint, run / BEST), int(checkpoint["epoch"]) + 1
    scored = ask() if ask is not None else None
    tiles = _last_scores(rows, best) if scored is None else scored.tiles()
    middle = [] if scored is None else scored.sections()
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


def _last_scores(rows: list[Row], best: int) -> list[Tile]:
    """The best epoch's validation as the table of metrics has it."""
    row = next((row for row in rows if row["epoch"] == best), rows[-1])
    return [Tile(name, f"{value:.4g}", f"epoch {row['epoch']:g}") for name, value in row.items() if "val/" in name]


def _facts(card: ModelCard, rows: list[Row], scored: Evaluation | None) -> list[tuple[str, str]]:
    size = card.preprocessing.get("input_size")
    known = {
        "Model": card.model,
        "Task": card.task,
        "Parameters": scored and f"{scored.num_parameters:,}",
        "Classes": f"{len(card.classes):,}",
        "Image size": size and f"{size[1]} x {size[2]}",
        "Data": card.data.get("path") or "embedded",
        "Scored on": scored and f"{scored.result.data}, {scored.result.images:,} images",
        "Epochs": str(len(rows)),
        "Training time": duration(math.fsum(row["seconds"] for row in rows)) if "seconds" in rows[0] else None,
    }
    return [(name, value) for name, value in known.items() if value]


def _throughput(run: Path, rows: list[Row]) -> list[Section]:
    timed = [row for row in rows if row.get("seconds", math.nan) > 0]
    counts = [len(read_split(run, subset) or []) for subset in ("train", "val")]
    return [throughput_section(timed, *counts)] if timed and all(counts) else []

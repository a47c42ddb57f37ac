"""Report of a run, from the files in its folder and the evaluation of its best checkpoint on the held-out images."""

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
from msgformer.checkpoints.checkpoint_file import read_training_checkpoint, write_atomically
from msgformer.checkpoints.model_location import BEST, find_model
from msgformer.config.data_options import OnBadImage
from msgformer.config.recipes import CONFIG_FILE
from msgformer.data.loading.split import read_split
from msgformer.errors import UserError
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
PLOTS_FOLDER = "plots"

Evaluate = Callable[[], Evaluation]
"""Evaluates a model on the held-out images."""


def write_report(run: Path, evaluate: Evaluate | None, notes: list[str] | None = None) -> list[Path]:
    """Write ``report.html``, and each of its plots as a PNG into ``plots/``.

    Args:
        run: Run folder with at least one finished epoch.
        evaluate: Evaluates the model on the held-out images; None leaves out the sections about them.
        notes: Notes at the top of the report.

    Returns:
        Paths of the plots.

    Raises:
        UserError: The folder holds no metrics or no checkpoint, or they are damaged.
    """
    page = build_page(run, evaluate, notes or [])
    folder = run / PLOTS_FOLDER
    folder.mkdir(exist_ok=True)
    paths = []
    for plot in page.plots():
        paths.append(folder / f"{plot.name}.png")
        paths[-1].write_bytes(plot.png)
    text = page.render()
    write_atomically(run / REPORT_FILE, lambda path: path.write_text(text, encoding="utf-8"))
    return paths


def try_write_report(run: Path, evaluate: Evaluate | None, note: str | None = None) -> None:
    """Write a report at the end of a training; a failure is reported on standard error, and raises nothing.

    Args:
        run: Run folder with at least one finished epoch.
        evaluate: As for `write_report`; None if the training was stopped, so that it ends without delay.
        note: Why nothing is scored, if not because the training was stopped.
    """
    again = f"'msgformer report {run}' writes a complete one"
    notes = [] if evaluate else [note or f"The training was stopped, so its images were not scored; {again}."]
    try:
        try:
            write_report(run, evaluate, notes)
        except UserError as error:
            if evaluate is None:
                raise
            print(f"the report lacks the scores of images: {error}; {again}", file=sys.stderr, flush=True)
            write_report(run, None, [f"The images couldn't be scored: {error}; {again}."])
    except (OSError, UserError) as error:
        print(f"no report was written: {error}; {again}", file=sys.stderr, flush=True)


def note_all_trained(run: Path) -> str | None:
    """Return a note for the report of a run that held out no images; None for other runs.

    Args:
        run: Run folder.
    """
    if read_split(run, "val") != []:
        return None
    return (
        "There are no held-out images: the run was trained on all images (val_fraction 0), so nothing is scored;"
        f" 'msgformer report {run} --data FOLDER' scores other images."
    )


def score_for_report(
    checkpoint: Path, data: str | None, config: InferenceConfig, on_bad_image: OnBadImage = "stop"
) -> Evaluate:
    """Return a function that evaluates a checkpoint and collects examples for a report.

    Args:
        checkpoint: The checkpoint.
        data: Images to evaluate on; None for those that the run held out.
        config: Device, precision and batches.
        on_bad_image: "stop" at an image that can't be read, or "skip" and count it.
    """

    def evaluate() -> Evaluation:
        model = open_model(find_model(checkpoint))
        return model.task.evaluate(model, data, config, EvaluationOptions(on_bad_image, with_examples=True))

    return evaluate


def evaluate_best(run: Path, settings: TrainSettings, trainer: Trainer) -> Evaluate:
    """Return a function that evaluates the best checkpoint of a training on the held-out images.

    Args:
        run: Run folder.
        settings: Settings of the training.
        trainer: Lightning's trainer, whose first device is used.
    """
    options, device = settings.trainer, str(trainer.strategy.root_device)
    batch_size = get_task(settings.task).report_batch_size(settings.batch_size)
    config = InferenceConfig(device, options.precision, batch_size, settings.workers, options.progress)
    return score_for_report(run / BEST, None, config, settings.on_bad_image)


def build_page(run: Path, evaluate: Evaluate | None, notes: list[str]) -> Page:
    """Build the page of the report.

    Args:
        run: Run folder with at least one finished epoch.
        evaluate: Evaluates the model on the held-out images; None leaves out the sections about them.
        notes: Notes at the top of the report.

    Raises:
        UserError: The folder holds no metrics or no checkpoint, or they are damaged.
    """
    rows = read_rows(run)
    checkpoint = read_training_checkpoint(run / BEST)
    card, best = ModelCard.read(checkpoint, run / BEST), int(checkpoint["epoch"]) + 1
    evaluation = evaluate() if evaluate is not None else None
    tiles = _logged_scores(rows, best) if evaluation is None else evaluation.tiles()
    score_sections = [] if evaluation is None else evaluation.sections()
    data = card.data.get("path") or "bundled data"
    return Page(
        title=run.resolve().name,
        lead=f"{card.model} on {data}, epoch {best}, the {_rank(rows)} of {len(rows)}",
        tiles=tiles,
        sections=[
            learning_section(rows, best, _facts(card, rows, evaluation)),
            *score_sections,
            *_throughput(run, rows),
            configuration_section((run / CONFIG_FILE).read_text(encoding="utf-8")),
            *([environment_section(starts)] if (starts := read_starts(run)) else []),
        ],
        footer=f"Written by msgformer {version('msgformer')} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        notes=notes,
    )


def _rank(rows: list[Row]) -> str:
    return "best" if any("val/" in name for name in rows[0]) else "last"


def read_rows(run: Path) -> list[Row]:
    """Read the run's table of metrics; an empty cell becomes NaN.

    Raises:
        UserError: The table is missing, empty, damaged, or can't be read.
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
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"{path} isn't a table of metrics ({error}); restore it") from error
    if not rows or not {"epoch", "lr"} <= rows[0].keys():
        raise UserError(f"run: {run} has no finished epoch in {METRICS_FILE}; give a run that has one")
    return rows


def _logged_scores(rows: list[Row], best: int) -> list[Tile]:
    """Return the validation scores of the best epoch from the table of metrics."""
    row = next((row for row in rows if row["epoch"] == best), rows[-1])
    return [Tile(name, f"{value:.4g}", f"epoch {row['epoch']:g}") for name, value in row.items() if "val/" in name]


def _facts(card: ModelCard, rows: list[Row], evaluation: Evaluation | None) -> list[tuple[str, str]]:
    """Return names and values of the run's properties, without unknown ones."""
    size = card.preprocessing.get("input_size")
    known = {
        "Model": card.model,
        "Task": card.task,
        "Parameters": evaluation and f"{evaluation.num_parameters:,}",
        "Classes": f"{len(card.classes):,}",
        "Image size": size and f"{size[1]} x {size[2]}",
        "Data": card.data.get("path") or "bundled",
        "Scored on": evaluation and f"{evaluation.result.data}, {evaluation.result.images:,} images",
        "Epochs": str(len(rows)),
        "Training time": duration(math.fsum(row["seconds"] for row in rows)) if "seconds" in rows[0] else None,
    }
    return [(name, value) for name, value in known.items() if value]


def _throughput(run: Path, rows: list[Row]) -> list[Section]:
    """Return the section of throughput, or no section if the times or the numbers of images are unknown."""
    timed = [row for row in rows if row.get("seconds", math.nan) > 0]
    counts = [len(read_split(run, subset) or []) for subset in ("train", "val")]
    return [throughput_section(timed, *counts)] if timed and counts[0] else []

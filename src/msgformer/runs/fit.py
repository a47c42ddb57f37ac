"""Training of any task from its settings. Imports heavy libraries, so commands import it last."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.seed import isolate_rng

from msgformer.checkpoints.checkpoint_file import write_atomically
from msgformer.checkpoints.model_location import BEST
from msgformer.config.recipes import CONFIG_FILE
from msgformer.data.loading.split import read_split
from msgformer.errors import UserError, shown
from msgformer.models import plugins_of
from msgformer.plugins import merge_plugins
from msgformer.runs.output_folder import new_run
from msgformer.runs.provenance import record_start
from msgformer.runs.train_settings import TrainSettings
from msgformer.tasks import get_task
from msgformer.tasks.training_setup import CLASSES_FILE, TrainingSetup
from msgformer.training.checkpoint import find_resumable
from msgformer.training.progress import epoch_report
from msgformer.training.run import Run
from msgformer.training.run_files import RunFiles
from msgformer.training.trainer import quiet
from msgformer.utils.seeding import derive, seed_generators


def fit(
    settings: TrainSettings, output: Path | None, resume: Path | None, callbacks: Sequence[Callback] = ()
) -> dict[str, Any]:
    """Start or resume a training.

    Args:
        settings: Checked settings.
        output: Folder of a new run; None for the next free one.
        resume: Folder of a run to resume; None starts a new run.
        callbacks: The user's Lightning callbacks.

    Returns:
        The fields of `TrainResult`, with the scores as one dictionary.
    """
    start = time.monotonic()
    settings = replace(settings, plugins=merge_plugins(settings.plugins, plugins_of(settings.model_args)))
    setup = get_task(settings.task).open_training(settings, resume)
    checkpoint = None
    if resume is not None:
        checkpoint = find_resumable(resume)
        _check_subsets(resume, setup)
    with quiet(), isolate_rng():
        report = epoch_report(settings.trainer.progress)
        files = RunFiles(lambda: _open_run(settings, output, resume, setup), report)
        run = Run(settings.trainer, files, settings.epochs + settings.optim.cooldown_epochs, callbacks)
        seed_generators(derive(settings.seed))
        module, data = setup.build(run.trainer, fresh=checkpoint is None)
        with _write_report_at_end(settings, files, run.trainer):
            run.fit(module, data, checkpoint)
    assert files.folder is not None
    best = module.best.select(files.rows)
    return {
        "run": files.folder,
        "checkpoint": files.folder / BEST,
        "epoch": int(best["epoch"]),
        "scores": {name: best.get(f"val/{name}") for name in setup.scores},
        "epochs": len(files.rows),
        "seconds": time.monotonic() - start,
    }


@contextmanager
def _write_report_at_end(settings: TrainSettings, files: RunFiles, trainer: Trainer) -> Iterator[None]:
    """Write a report when the training finishes or stops; that of a stopped training has no scores of images."""
    finished = False
    try:
        yield
        finished = True
    finally:
        if settings.report and files.folder is not None and files.rows and trainer.is_global_zero:
            from msgformer.runs.report import evaluate_best, note_all_trained, try_write_report

            note = note_all_trained(files.folder)
            is_scored = finished and note is None
            evaluate = evaluate_best(files.folder, settings, trainer) if is_scored else None
            try_write_report(files.folder, evaluate, note)


def _open_run(settings: TrainSettings, output: Path | None, resume: Path | None, setup: TrainingSetup) -> Path:
    """Return the run folder, after recording this start of the training in it."""
    run = resume or _create_run(output, setup)
    record_start(run, settings.data)
    return run


def _create_run(output: Path | None, setup: TrainingSetup) -> Path:
    """Create a new run folder with classes, images and configuration."""
    run = new_run(output, setup.title)
    (run / CLASSES_FILE).write_text("".join(f"{shown(name)}\n" for name in setup.classes), encoding="utf-8")
    setup.record(run)
    # Written last and atomically: a folder with this file can be resumed, even if the run is killed now.
    write_atomically(run / CONFIG_FILE, setup.settings.write)
    return run


def _check_subsets(run: Path, setup: TrainingSetup) -> None:
    """Check that a run is resumed with the images that it was started with.

    Raises:
        UserError: Images have been added or removed.
    """
    for subset, found in setup.image_names().items():
        recorded = read_split(run, subset)
        if recorded is None or recorded == found:
            continue
        changed = sorted(set(recorded).symmetric_difference(found)) or found
        what = "is gone" if changed[0] in recorded else "is new"
        raise UserError(
            f"resume: the run's {subset} images have changed since its start ({shown(changed[0])} {what}, of"
            f" {len(changed)} changes); restore them, or start a new run"
        )

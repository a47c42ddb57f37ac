"""A training of any task from its settings to its end. Imported once all of it is needed."""

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
from msgformer.data.loading.split import read_split
from msgformer.errors import UserError, shown
from msgformer.models import plugins_of
from msgformer.plugins import merge_plugins
from msgformer.runs.output_folder import CONFIG_FILE, new_run
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
    """Train, or go on with a training.

    Args:
        settings: Checked settings.
        output: Where a new run is wanted; None for the next free folder.
        resume: Folder of a run to go on with.
        callbacks: Further Lightning callbacks, which the user gives.

    Returns:
        The fields of ``TrainResult``.
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
        files = RunFiles(lambda: _start_run(settings, output, resume, setup), report)
        run = Run(settings.trainer, files, settings.epochs + settings.optim.cooldown_epochs, callbacks)
        seed_generators(derive(settings.seed))
        module, data = setup.build(run.trainer, fresh=checkpoint is None)
        with _reporting(settings, files, run.trainer):
            run.fit(module, data, checkpoint)
    assert files.folder is not None
    best = module.best.of(files.rows)
    return {
        "run": files.folder,
        "checkpoint": files.folder / BEST,
        "epoch": int(best["epoch"]),
        "scores": {name: best[f"val/{name}"] for name in setup.scores},
        "epochs": len(files.rows),
        "seconds": time.monotonic() - start,
    }


@contextmanager
def _reporting(settings: TrainSettings, files: RunFiles, trainer: Trainer) -> Iterator[None]:
    """Leave a report, whether the training ends or is ended; what it lacks then, a command adds later."""
    finished = False
    try:
        yield
        finished = True
    finally:
        if settings.report and files.folder is not None and files.rows and trainer.is_global_zero:
            from msgformer.runs.report import leave_report, score_at_end

            leave_report(files.folder, score_at_end(files.folder, settings, trainer) if finished else None)


def _start_run(settings: TrainSettings, output: Path | None, resume: Path | None, setup: TrainingSetup) -> Path:
    """The run folder, in which is told what made it each time that the training starts."""
    run = resume or _begin_run(output, setup)
    record_start(run, settings.data)
    return run


def _begin_run(output: Path | None, setup: TrainingSetup) -> Path:
    """A new run folder that says what is trained on what."""
    run = new_run(output, setup.title)
    (run / CLASSES_FILE).write_text("".join(f"{shown(name)}\n" for name in setup.classes), encoding="utf-8")
    setup.record(run)
    # Last and at once: a folder that has it can be resumed, at whatever moment the run is killed.
    write_atomically(run / CONFIG_FILE, setup.settings.write)
    return run


def _check_subsets(run: Path, setup: TrainingSetup) -> None:
    """Make sure that a run goes on with the data that it was begun with.

    Raises:
        UserError: pictures have come or gone.
    """
    for subset, found in setup.image_names().items():
        recorded = read_split(run, subset)
        if recorded is None or recorded == found:
            continue
        changed = sorted(set(recorded).symmetric_difference(found)) or found
        what = "is gone" if changed[0] in recorded else "is new"
        raise UserError(
            f"resume: the run's {subset} images have changed since it began ({shown(changed[0])} {what}, of"
            f" {len(changed)} changes); restore them, or begin a new run"
        )

"""Train the runs of a study, one after the other, or one per GPU."""

from __future__ import annotations

import csv
import os
import queue
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from msgformer.config.recipes import CONFIG_FILE, load_config, merge_options
from msgformer.config.schedule import fit_schedule
from msgformer.errors import JobError
from msgformer.plugins import loaded_plugins
from msgformer.studies.result import StudiedRow
from msgformer.studies.table import SMALL_SIDE, TABLES, AblationRow, small_model_args
from msgformer.training.build import build_model
from msgformer.training.run_files import METRICS_FILE

ONE_DEVICE = {"devices": 1, "num_nodes": 1, "strategy": "auto"}
"""Trainer options of a run on a single device."""


@dataclass(frozen=True)
class Job:
    """One run of a study.

    Attributes:
        row: Row of the table.
        seed: Random seed.
        settings: Options of 'msgformer train' that differ from the defaults.
        folder: Run folder.
    """

    row: AblationRow
    seed: int
    settings: dict[str, Any]
    folder: Path

    @property
    def epochs(self) -> int:
        """Total number of epochs."""
        epochs: int = self.settings["epochs"]
        cooldown: int = self.settings.get("optim", {}).get("cooldown_epochs", 0)
        return epochs + cooldown

    def scores(self) -> list[float]:
        """Return the top-1 accuracy after each epoch so far, in percent."""
        path = self.folder / METRICS_FILE
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return [float(row["val/top1"]) for row in csv.DictReader(file)]

    def arguments(self) -> dict[str, Path]:
        """Return the arguments of `msgformer.train` for a new run, or to resume an interrupted one.

        The settings of a new run are written to a file beside its folder. The folder of a run that stopped before it
        could be resumed is removed.
        """
        if (self.folder / CONFIG_FILE).is_file():
            return {"resume": self.folder}
        shutil.rmtree(self.folder, ignore_errors=True)
        config = self.folder.with_suffix(".yaml")
        config.write_text(yaml.safe_dump(self.settings, sort_keys=False), encoding="utf-8")
        return {"config": config, "output": self.folder}


def run_table(
    folder: Path, plan: Mapping[str, Any], seeds: int, workers: int | None, train: Callable[..., Any]
) -> tuple[list[StudiedRow], int]:
    """Train the runs that are not finished, and read all scores.

    Args:
        folder: Folder of the study.
        plan: Arguments of the study that determine the runs.
        seeds: Runs per row.
        workers: Processes that load images.
        train: `msgformer.train`.

    Returns:
        The rows, and the number of epochs per run.

    Raises:
        UserError: The settings or the data can't be used.
        JobError: A process that trained on one of several GPUs failed.
    """
    rows = TABLES[plan["table"]].rows
    overrides = {} if workers is None else {"workers": workers}
    settings = {row: {**row_settings(row, plan), **overrides} for row in rows}
    jobs = {row: [make_job(folder, row, seed, settings[row]) for seed in range(seeds)] for row in rows}
    gpus = [] if settings[rows[0]]["trainer"]["accelerator"] == "cpu" else find_gpus()
    # Seed by seed, so that an interrupted study has complete columns of its table.
    run_all([jobs[row][seed] for seed in range(seeds) for row in rows], gpus, train)
    studied = [
        StudiedRow.of(
            row.name,
            row.recipe,
            _count_parameters(settings[row]),
            [job.scores()[-1] for job in jobs[row]],
            row.published,
        )
        for row in rows
    ]
    return studied, settings[rows[0]]["epochs"]


def row_settings(row: AblationRow, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a row's runs, without the seed.

    Args:
        row: Row of the table.
        plan: Arguments of the study that determine the runs.
    """
    recipe = load_config(row.recipe)
    if plan["small"]:
        recipe = {"model": recipe["model"], "model_args": small_model_args(row), "img_size": SMALL_SIDE}
    values = merge_options(recipe, plan["budget"])
    if plan["epochs"] is not None:
        fit_schedule(values, plan["epochs"])
        values["epochs"] = plan["epochs"]
    accelerator = plan["budget"].get("trainer", {}).get("accelerator", "auto")  # recipes are for eight GPUs
    trainer = {**values.get("trainer", {}), **ONE_DEVICE, "accelerator": accelerator}
    if trainer.get("precision") == "16-mixed" and (accelerator == "cpu" or not torch.cuda.is_available()):
        trainer["precision"] = "32-true"
    return {"report": False, **values, "data": plan["data"], "trainer": trainer}


def make_job(folder: Path, row: AblationRow, seed: int, settings: Mapping[str, Any]) -> Job:
    """Create the run of a row with one seed.

    Args:
        folder: Folder of the study.
        row: Row of the table.
        seed: Random seed.
        settings: Settings of the row, without the seed.
    """
    name = f"{row.recipe.rpartition('/')[2]}-seed{seed}"
    return Job(row, seed, {**settings, "seed": seed}, folder / name)


def run_all(jobs: Sequence[Job], gpus: Sequence[str], train: Callable[..., Any]) -> None:
    """Train the unfinished runs: in this process, or, with several GPUs, in one process per GPU.

    Args:
        jobs: All runs.
        gpus: Names of the GPUs.
        train: `msgformer.train`.
    """
    unfinished = [job for job in jobs if len(job.scores()) < job.epochs]
    if len(gpus) > 1:
        run_in_parallel(unfinished, gpus)
        return
    for number, job in enumerate(unfinished, len(jobs) - len(unfinished) + 1):
        print(f"{job.row.name}, seed {job.seed} ({number} of {len(jobs)})", file=sys.stderr, flush=True)
        arguments: dict[str, Any] = {**job.arguments()}
        train(**arguments)


def run_in_parallel(jobs: Sequence[Job], gpus: Sequence[str]) -> None:
    """Train one run per GPU at a time, each in its own process.

    Args:
        jobs: Runs to train.
        gpus: Names of the GPUs.

    Raises:
        JobError: A run failed. Runs that have started are completed, the others are not started.
    """
    free_gpus: queue.SimpleQueue[str] = queue.SimpleQueue()
    for gpu in gpus:
        free_gpus.put(gpu)
    with ThreadPoolExecutor(len(gpus)) as pool:
        futures = [pool.submit(run_in_process, job, free_gpus) for job in jobs]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def run_in_process(job: Job, free_gpus: queue.SimpleQueue[str]) -> None:
    """Train one run in a process that sees a single GPU; its output goes to a log file beside the run folder.

    Args:
        job: Run to train.
        free_gpus: Names of the free GPUs; one is taken, and put back at the end.

    Raises:
        JobError: The process failed.
    """
    gpu = free_gpus.get()
    try:
        log = job.folder.with_suffix(".log")
        words = [word for key, path in job.arguments().items() for word in (f"--{key}", str(path))]
        words += [word for name in loaded_plugins() for word in ("--plugins", name)]
        command = [sys.executable, "-m", "msgformer", "train", *words]
        print(f"{job.row.name}, seed {job.seed}, on GPU {gpu}: {log}", file=sys.stderr, flush=True)
        with log.open("a", encoding="utf-8") as file:
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": gpu}
            done = subprocess.run(command, stdout=file, stderr=file, env=environment, check=False)
        if done.returncode:
            last = (log.read_text(encoding="utf-8", errors="replace").splitlines() or [""])[-1]
            raise JobError(
                f"{job.row.name}, seed {job.seed}, failed: {last} (see {log}); run the same command to resume"
            )
    finally:
        free_gpus.put(gpu)


def find_gpus() -> list[str]:
    """Return the names of the GPUs that this process may use, as in CUDA_VISIBLE_DEVICES."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name for name in (visible or "").split(",") if name]
    count = torch.cuda.device_count()
    return names[:count] if names else [str(number) for number in range(count)]


def _count_parameters(settings: Mapping[str, Any]) -> int:
    """Return the number of parameters of a row's model without its classifier."""
    size = settings["img_size"]
    height, width = (size, size) if isinstance(size, int) else size
    with torch.device("meta"):
        model = build_model(settings["model"], 0, (height, width), settings["model_args"])
    return sum(parameter.numel() for parameter in model.parameters())

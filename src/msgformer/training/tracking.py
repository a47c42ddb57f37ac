"""Experiment tracking with TensorBoard, Weights & Biases or MLflow, by Lightning's loggers."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import yaml
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from typing_extensions import override

from msgformer.config.recipes import CONFIG_FILE
from msgformer.training.best import Row
from msgformer.training.run_files import RunFiles

PROJECT = "msgformer"
TRACKING_FILE = "tracking.json"


class TrackerCallback(Callback):
    """Logs the configuration of a run and the metrics of each epoch; a resumed run continues under its own ID.

    Args:
        kinds: "tensorboard", "wandb" or "mlflow".
        files: Files of the run, in whose folder the loggers write.
    """

    def __init__(self, kinds: Sequence[str], files: RunFiles) -> None:
        self.kinds, self.files = kinds, files
        self.loggers: list[Logger] = []

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the loggers in the first process, and log the configuration.

        Args:
            trainer: Lightning's trainer.
            pl_module: Unused.
        """
        if not trainer.is_global_zero:
            return
        folder = self.files.folder
        assert folder is not None
        self.loggers = [_open(kind, folder) for kind in self.kinds]
        config = folder / CONFIG_FILE
        for logger in self.loggers:
            logger.log_hyperparams(yaml.safe_load(config.read_text(encoding="utf-8")))

    def report(self, _trainer: Trainer, row: Row) -> None:
        """Log the metrics of an epoch at its last optimizer step.

        Args:
            _trainer: Unused.
            row: Metrics of the epoch.
        """
        values = {name: value for name, value in row.items() if name != "step"}
        for logger in self.loggers:
            logger.log_metrics(values, step=int(row["step"]))
            logger.save()

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the loggers.

        Args:
            trainer: Unused.
            pl_module: Unused.
        """
        self._close("success")

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the loggers with the status of a failure.

        Args:
            trainer: Unused.
            pl_module: Unused.
            exception: Unused.
        """
        self._close("failed")

    def _close(self, status: str) -> None:
        for logger in self.loggers:
            logger.finalize(status)
        self.loggers = []


def _open(kind: str, folder: Path) -> Logger:
    """Open a logger with its files in the run folder; ``tracking.json`` there records the run's ID at the service."""
    if kind == "tensorboard":
        return TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False)
    path = folder / TRACKING_FILE
    ids = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    logger: Logger
    if kind == "wandb":
        run_id = ids.setdefault("wandb", secrets.token_hex(4))
        logger = WandbLogger(folder.name, save_dir=folder, id=run_id, project=PROJECT, resume="allow")
        _ = logger.experiment  # asks for the API key now, before the training starts
    else:
        server, local = os.getenv("MLFLOW_TRACKING_URI"), str(folder / "mlruns")
        logger = MLFlowLogger(PROJECT, folder.name, server, save_dir=local, run_id=ids.get("mlflow"))
        ids["mlflow"] = logger.run_id
    path.write_text(json.dumps(ids), encoding="utf-8")
    return logger

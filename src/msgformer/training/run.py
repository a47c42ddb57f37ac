"""A training from its parts to its end."""

from __future__ import annotations

from pathlib import Path

from lightning import LightningDataModule, Trainer

from msgformer.training.module import Training
from msgformer.training.run_files import LAST, RunFiles
from msgformer.training.stopping import resumable


def run_training(
    trainer: Trainer, module: Training, data: LightningDataModule, files: RunFiles, resume: Path | None
) -> None:
    """Train to the end, or until told to stop.

    Args:
        trainer: From ``build_trainer``, with ``files`` among its callbacks.
        module: The task.
        data: Its batches.
        files: What is left in the run folder; its ``rows`` then tell what came of each epoch.
        resume: Run folder to go on with; None for a new run.
    """
    with resumable(files):
        trainer.fit(module, data, ckpt_path=resume / LAST if resume else None)

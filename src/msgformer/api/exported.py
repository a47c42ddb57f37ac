"""Trained models wherever they are: in checkpoints, or in exported files."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from msgformer.deploy.card import ExportCard, is_exported
from msgformer.deploy.optimize import optimize
from msgformer.deploy.runtime import as_model, open_session, read_card
from msgformer.errors import UserError
from msgformer.training.checkpoint import BEST, LAST, ModelCard, load_model, read_checkpoint, read_task
from msgformer.training.options import Precision


def task_of(path: Path) -> str:
    """What a model is for; the errors are those of :func:`open_model`."""
    return read_card(path).task if is_exported(path) else read_task(path)


def open_model(path: Path, accelerator: str = "auto", precision: Precision = "32-true") -> tuple[nn.Module, ModelCard]:
    """A trained model in evaluation mode, and its card.

    Args:
        path: Checkpoint or exported file.
        accelerator: Where an exported file runs.
        precision: That of an exported file is its own, so that nothing but the default is taken for it.

    Raises:
        UserError: the file can't be read, or not be run so.
    """
    if not is_exported(path):
        model, card = load_model(path)
        return optimize(model), card
    if precision != "32-true":
        raise UserError(f"precision: {path} has the one that it was exported with; leave --precision out")
    session = open_session(path, accelerator)
    return as_model(session).eval(), _model_card(path, session.card)


def _model_card(path: Path, card: ExportCard) -> ModelCard:
    """A file's card as a checkpoint has it, with the data of the run if the file lies in its folder."""
    data = {}
    for name in (BEST, LAST):
        beside = path.parent / name
        if beside.is_file():
            run = ModelCard.read(read_checkpoint(beside), beside)
            data = run.data if run.classes == card.classes else {}
            break
    return ModelCard(card.model, {}, card.classes, card.preprocessing, data, card.task, card.version)

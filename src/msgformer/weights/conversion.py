"""Weights on their way from one kind of file to another, and what is known about the model that they are of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from msgformer.checkpoints.card import KEY, ModelCard
from msgformer.checkpoints.checkpoint_file import check_seal, trained_weights
from msgformer.checkpoints.weights_file import Checkpoint, read_checkpoint
from msgformer.errors import UserError
from msgformer.mindspore_backend import Library, check_model, is_mindspore, read_mindspore, save_mindspore
from msgformer.model_names import ALIASES
from msgformer.models import create_model
from msgformer.models.official_weights import convert_state_dict, find_variant, rename_official
from msgformer.tasks import get_task
from msgformer.tasks.opened_model import restore
from msgformer.utils.safetensors_header import read_header
from msgformer.weights.files import write_checkpoint, write_safetensors, write_whole


@dataclass(frozen=True)
class Weights:
    """The weights of one model.

    Attributes:
        model: Its name.
        num_classes: Its classes.
        state: Tensors by this package's names.
        card: What is known about a trained model; None of others.
        left_out: Names of classes and functions in the file whose objects were not restored.
    """

    model: str
    num_classes: int
    state: dict[str, Tensor]
    card: ModelCard | None = None
    left_out: list[str] = field(default_factory=list)

    def write(self, output: Path, source: str, to: Library) -> None:
        """Write them as the library and the file's name ask for.

        Args:
            output: The file.
            source: Name of the file that they were in.
            to: The library that the output is for.

        Raises:
            UserError: It can't be written, MindSpore doesn't have the model, or a checkpoint is asked for of weights
                about which nothing is known.
        """
        text = None if self.card is None else self.card.to_json()
        if to == "mindspore":
            if self.card is not None:
                check_model(self.card, self.state)
            write_whole(output, lambda path: save_mindspore(self.state, path, text))
        elif output.suffix == ".safetensors":
            said = {} if text is None else {KEY: text}
            write_safetensors(self.state, output, {"format": "pt", "model": self.model, "source": source, **said})
        elif self.card is not None:
            write_checkpoint(self.state, self.card, output)
        else:
            raise UserError(
                f"output '{output}' can't be a checkpoint, since '{source}' doesn't say what its classes and its input"
                f" are; give '{output.stem}.safetensors', for the weights alone"
            )


def read_weights(path: Path, model: str | None, num_classes: int | None, img_size: int | None, *, ema: bool) -> Weights:
    """The weights in a file of any kind.

    Args:
        path: An official checkpoint, one of this package, or one of MindSpore.
        model: What the user says that they are of; None for what the file says or the shapes tell.
        num_classes: Likewise its classes.
        img_size: Likewise the side of the images.
        ema: Where the file holds averaged weights beside the last ones, take the averaged.

    Raises:
        UserError: The file can't be read, or is of another model.
    """
    if is_mindspore(path):
        stored, said = read_mindspore(path)
        checkpoint = Checkpoint(stored)
    else:
        checkpoint, said = read_checkpoint(path), read_header(path).get(KEY)
    if said is not None:
        card, trained = ModelCard.from_json(said, path), dict(checkpoint)
    elif KEY in checkpoint:
        check_seal(path)
        card, trained = ModelCard.read(checkpoint, path), trained_weights(checkpoint, ema=ema)
    else:
        return _official(checkpoint, path, model, num_classes, img_size, ema)
    _check_card(card, path, model, num_classes, img_size)
    return Weights(card.model, len(card.classes), restore(card, trained, path).state_dict(), card)


def _check_card(card: ModelCard, path: Path, model: str | None, num_classes: int | None, img_size: int | None) -> None:
    """Raises UserError where the user says otherwise, and where the model is no classifier."""
    get_task(card.task).require_classifier(f"checkpoint: '{path}'")
    pairs = {
        "model": (model, ALIASES.get(card.model, card.model)),
        "num_classes": (num_classes, len(card.classes)),
        "img_size": (None if img_size is None else (img_size, img_size), card.img_size),
    }
    for option, (given, known) in pairs.items():
        if given is not None and given != known:
            raise UserError(f"{option}: '{path}' says that it is {known}, not {given}; leave it out")


def _official(
    checkpoint: Checkpoint, path: Path, model: str | None, num_classes: int | None, img_size: int | None, ema: bool
) -> Weights:
    """Weights that only their names and shapes tell about."""
    name = model or find_variant(rename_official(checkpoint, ema=ema))
    if name is None:
        raise UserError(f"'{path}' is of no model of this package; --model NAME shows what differs")
    classes = 1000 if num_classes is None else num_classes
    with torch.device("meta"):  # only names and shapes count
        template = create_model(name, num_classes=classes, img_size=224 if img_size is None else img_size)
    try:
        state = convert_state_dict(checkpoint, template, ema=ema)
    except UserError as error:
        raise UserError(f"'{path}' doesn't fit {name}: {error}") from error
    return Weights(name, classes, state, left_out=list(checkpoint.left_out))

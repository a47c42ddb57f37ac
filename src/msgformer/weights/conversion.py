"""Read the weights of a model from any kind of file, and write them to another."""

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
from msgformer.weights.files import write_checkpoint, write_output, write_safetensors


@dataclass(frozen=True)
class Weights:
    """Weights of one model.

    Attributes:
        model: Name of the model.
        num_classes: Number of classes.
        state: State dict with this package's parameter names.
        card: Card of a trained model; None for other weights.
        left_out: Names of classes and functions in the file whose objects were not restored.
    """

    model: str
    num_classes: int
    state: dict[str, Tensor]
    card: ModelCard | None = None
    left_out: list[str] = field(default_factory=list)

    def write(self, output: Path, source: str, to: Library) -> None:
        """Write the weights in the format for a library and a file suffix.

        Args:
            output: File to write.
            source: Name of the file that the weights come from.
            to: Library that the output is for.

        Raises:
            UserError: The file can't be written, the model is not available in MindSpore, or a checkpoint is requested
                for weights without a card.
        """
        text = None if self.card is None else self.card.to_json()
        if to == "mindspore":
            if self.card is not None:
                check_model(self.card, self.state)
            write_output(output, lambda path: save_mindspore(self.state, path, text))
        elif output.suffix == ".safetensors":
            card = {} if text is None else {KEY: text}
            write_safetensors(self.state, output, {"format": "pt", "model": self.model, "source": source, **card})
        elif self.card is not None:
            write_checkpoint(self.state, self.card, output)
        else:
            raise UserError(
                f"output '{output}' can't be a checkpoint, since '{source}' doesn't record its classes and its input;"
                f" give '{output.stem}.safetensors', for the weights alone"
            )


def read_weights(path: Path, model: str | None, num_classes: int | None, img_size: int | None, *, ema: bool) -> Weights:
    """Read weights from a file of any kind.

    Args:
        path: Official checkpoint, checkpoint or converted weights of this package, or MindSpore checkpoint.
        model: Name of the model; None to read it from the file, or to detect it from the parameter shapes.
        num_classes: Number of classes; None to read it from the file's card, or 1000 without a card.
        img_size: Side of the images; None to read it from the file's card, or 224 without a card.
        ema: Use the averaged (EMA) weights if the file holds both.

    Returns:
        The weights.

    Raises:
        UserError: The file can't be read, or is of another model.
    """
    if is_mindspore(path):
        stored, card_json = read_mindspore(path)
        checkpoint = Checkpoint(stored)
    else:
        checkpoint, card_json = read_checkpoint(path), read_header(path).get(KEY)
    if card_json is not None:
        card, trained = ModelCard.from_json(card_json, path), dict(checkpoint)
    elif KEY in checkpoint:
        check_seal(path)
        card, trained = ModelCard.read(checkpoint, path), trained_weights(checkpoint, ema=ema)
    else:
        return _read_without_card(checkpoint, path, model, num_classes, img_size, ema)
    _check_card(card, path, model, num_classes, img_size)
    return Weights(card.model, len(card.classes), restore(card, trained, path).state_dict(), card)


def _check_card(card: ModelCard, path: Path, model: str | None, num_classes: int | None, img_size: int | None) -> None:
    """Raise UserError if options contradict the card, or the model is not a classifier."""
    get_task(card.task).require_classifier(f"checkpoint: '{path}'")
    pairs = {
        "model": (model, ALIASES.get(card.model, card.model)),
        "num_classes": (num_classes, len(card.classes)),
        "img_size": (None if img_size is None else (img_size, img_size), card.img_size),
    }
    for option, (given, recorded) in pairs.items():
        if given is not None and given != recorded:
            raise UserError(f"{option}: '{path}' records {recorded}, not {given}; leave it out")


def _read_without_card(
    checkpoint: Checkpoint, path: Path, model: str | None, num_classes: int | None, img_size: int | None, ema: bool
) -> Weights:
    """Convert the weights of a file without a card; parameter names and shapes identify the model."""
    name = model or find_variant(rename_official(checkpoint, ema=ema))
    if name is None:
        raise UserError(f"'{path}' fits no model of this package; pass --model NAME to see the difference")
    classes = 1000 if num_classes is None else num_classes
    with torch.device("meta"):  # only names and shapes are needed
        template = create_model(name, num_classes=classes, img_size=224 if img_size is None else img_size)
    try:
        state = convert_state_dict(checkpoint, template, ema=ema)
    except UserError as error:
        raise UserError(f"'{path}' doesn't fit {name}: {error}") from error
    return Weights(name, classes, state, left_out=list(checkpoint.left_out))

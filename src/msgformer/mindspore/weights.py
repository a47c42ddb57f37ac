"""Weights between the two libraries: the same names and shapes but for norms, and files of both kinds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn
from safetensors.numpy import load_file

from msgformer.errors import UserError
from msgformer.utils.safetensors_header import is_safetensors, read_header

NORM = re.compile(r"(norm\d?)\.(weight|bias|gamma|beta)$")
"""Where the name of a parameter is a norm's; MindSpore calls its weight gamma and its bias beta."""

MINDSPORE_NAMES = {"weight": "gamma", "bias": "beta"}
TORCH_NAMES = {mindspore: torch for torch, mindspore in MINDSPORE_NAMES.items()}

PARTS = ("patch_embed.", "msg_tokens", "pos_embed", "stages.", "norm.", "head.")
"""How the names of a model's parameters begin. In a checkpoint of a training there are also an optimizer's."""

CARD = "msgformer"
"""Under this name a file holds what is said about its model, a text."""


def mindspore_name(name: str) -> str:
    """MindSpore's name for a parameter of the PyTorch models."""
    return NORM.sub(lambda found: f"{found[1]}.{MINDSPORE_NAMES.get(found[2], found[2])}", name)


def torch_name(name: str) -> str:
    """The inverse of `mindspore_name`."""
    return NORM.sub(lambda found: f"{found[1]}.{TORCH_NAMES.get(found[2], found[2])}", name)


class Stored(NamedTuple):
    """What a file of weights holds.

    Attributes:
        weights: Arrays by the PyTorch models' names.
        card: What ``msgformer convert`` wrote about a trained model beside them, as a JSON object: its name and
            settings, its classes, its input; None where it wrote nothing.
    """

    weights: dict[str, np.ndarray]
    card: str | None


def read_checkpoint(path: str | Path) -> Stored:
    """Reads a file of weights of either library.

    Args:
        path: A MindSpore checkpoint, or a safetensors file by the PyTorch models' names; its content decides.

    Returns:
        The weights of the model, and what the file says about it.

    Raises:
        UserError: the file can't be opened or is neither.
    """
    path = Path(path)
    try:
        if is_safetensors(path):
            return Stored(load_file(path), read_header(path).get(CARD))
        stored = ms.load_checkpoint(str(path))
    except OSError as error:
        raise UserError(
            f"checkpoint '{path}' can't be opened ({error.strerror or error}); give another path"
        ) from error
    except Exception as error:  # each reader has errors of its own for damaged files
        raise UserError(
            f"checkpoint '{path}' is neither a MindSpore checkpoint nor a safetensors file, or it is damaged"
        ) from error
    weights = {torch_name(name): value.asnumpy() for name, value in stored.items() if name.startswith(PARTS)}
    return Stored(weights, stored.get(CARD))


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the weights alone, by the PyTorch models' names; the errors are those of `read_checkpoint`."""
    return read_checkpoint(path).weights


def write_weights(weights: Mapping[str, np.ndarray], path: str | Path, card: str | None = None) -> None:
    """Writes a MindSpore checkpoint, in the place of one that was there before.

    Args:
        weights: Arrays by the PyTorch models' names.
        path: The file to write.
        card: What to say about the model beside them, as of `Stored`.
    """
    params = [{"name": mindspore_name(name), "data": Tensor(value)} for name, value in weights.items()]
    ms.save_checkpoint(params, str(path), append_dict=None if card is None else {CARD: card})


def load_weights(model: nn.Cell, weights: Mapping[str, np.ndarray]) -> None:
    """Loads weights into a model, in the model's precision.

    Args:
        model: What to load into.
        weights: Arrays by the PyTorch models' names.

    Raises:
        UserError: one is missing, is not part of the model, or has another shape; the model stays as it was.
    """
    given = {mindspore_name(name): value for name, value in weights.items()}
    own = dict(model.parameters_and_names())
    for name in own.keys() | given.keys():
        shown = torch_name(name)
        if name not in given:
            raise UserError(f"the weights lack {shown}; give those of the same model")
        if name not in own:
            raise UserError(f"the weights have {shown}, which is not part of the model; give those of the same model")
        if tuple(given[name].shape) != tuple(own[name].shape):
            raise UserError(
                f"{shown} has shape {tuple(given[name].shape)}, not {tuple(own[name].shape)}; "
                "give the weights of the same model and settings"
            )
    for name, parameter in own.items():
        parameter.set_data(Tensor(given[name], parameter.dtype))


def set_precision(model: nn.Cell, dtype: ms.Type) -> nn.Cell:
    """Sets the precision of a model's parameters, ``ms.float32`` or ``ms.float64``, and returns the model."""
    for parameter in model.get_parameters():
        parameter.set_dtype(dtype)
    return model

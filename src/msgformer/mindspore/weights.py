"""Conversion of weights between PyTorch and MindSpore: only the names of norms differ; files of both kinds."""

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
"""Matches the parameters of norms; MindSpore calls their weight gamma and their bias beta."""

MINDSPORE_NAMES = {"weight": "gamma", "bias": "beta"}
TORCH_NAMES = {mindspore: torch for torch, mindspore in MINDSPORE_NAMES.items()}

PARTS = ("patch_embed.", "msg_tokens", "pos_embed", "stages.", "norm.", "head.")
"""Prefixes of a model's parameters; a training checkpoint has optimizer states, too."""

CARD = "msgformer"
"""Key of the model card, a text, in a file."""


def mindspore_name(name: str) -> str:
    """Return MindSpore's name for a parameter of the PyTorch models."""
    return NORM.sub(lambda found: f"{found[1]}.{MINDSPORE_NAMES.get(found[2], found[2])}", name)


def torch_name(name: str) -> str:
    """Invert `mindspore_name`."""
    return NORM.sub(lambda found: f"{found[1]}.{TORCH_NAMES.get(found[2], found[2])}", name)


class Stored(NamedTuple):
    """Contents of a weights file.

    Attributes:
        weights: Arrays by the PyTorch models' names.
        card: Model card of ``msgformer convert`` as a JSON object: name, settings, classes and input; None if there is
            none.
    """

    weights: dict[str, np.ndarray]
    card: str | None


def read_weights_and_card(path: str | Path) -> Stored:
    """Read a weights file of either library.

    Args:
        path: MindSpore checkpoint, or safetensors file with the PyTorch models' names; detected by content.

    Returns:
        The weights of the model and its card.

    Raises:
        UserError: The file can't be opened or has another format.
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
    except Exception as error:  # readers raise various errors for damaged files
        raise UserError(
            f"checkpoint '{path}' is neither a MindSpore checkpoint nor a safetensors file, or it is damaged"
        ) from error
    weights = {torch_name(name): value.asnumpy() for name, value in stored.items() if name.startswith(PARTS)}
    return Stored(weights, stored.get(CARD))


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Read the weights only, by the PyTorch models' names; raises the errors of `read_weights_and_card`."""
    return read_weights_and_card(path).weights


def write_weights(weights: Mapping[str, np.ndarray], path: str | Path, card: str | None = None) -> None:
    """Write a MindSpore checkpoint; an existing file is replaced.

    Args:
        weights: Arrays by the PyTorch models' names.
        path: File to write.
        card: Model card, see `Stored`.
    """
    params = [{"name": mindspore_name(name), "data": Tensor(value)} for name, value in weights.items()]
    ms.save_checkpoint(params, str(path), append_dict=None if card is None else {CARD: card})


def load_weights(model: nn.Cell, weights: Mapping[str, np.ndarray]) -> None:
    """Load weights into a model, in the model's precision.

    Args:
        model: Model to load into.
        weights: Arrays by the PyTorch models' names.

    Raises:
        UserError: A parameter is missing, unexpected, or has another shape; the model stays unchanged.
    """
    given = {mindspore_name(name): value for name, value in weights.items()}
    own = dict(model.parameters_and_names())
    for name in own.keys() | given.keys():
        shown = torch_name(name)
        if name not in given:
            raise UserError(f"{shown} is missing in the weights; give those of the same model")
        if name not in own:
            raise UserError(
                f"the weights contain {shown}, which is not part of the model; give those of the same model"
            )
        if tuple(given[name].shape) != tuple(own[name].shape):
            raise UserError(
                f"{shown} has shape {tuple(given[name].shape)}, not {tuple(own[name].shape)}; "
                "give the weights of the same model and settings"
            )
    for name, parameter in own.items():
        parameter.set_data(Tensor(given[name], parameter.dtype))


def set_precision(model: nn.Cell, dtype: ms.Type) -> nn.Cell:
    """Set the precision of a model's parameters in place.

    Args:
        model: The model.
        dtype: ``ms.float32`` or ``ms.float64``.

    Returns:
        The model.
    """
    for parameter in model.get_parameters():
        parameter.set_dtype(dtype)
    return model

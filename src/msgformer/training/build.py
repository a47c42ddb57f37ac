"""Construction of classifiers of this package and of timm by name, with checked arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg
from torch import nn

import msgformer.models  # noqa: F401  (registers this package's models with timm)
from msgformer.errors import UserError
from msgformer.model_names import HUB_PREFIXES, MODELS, nearest
from msgformer.models.registry import known_model


def build_model(
    name: str,
    num_classes: int,
    img_size: tuple[int, int],
    model_args: Mapping[str, Any],
    *,
    pretrained: bool = False,
) -> nn.Module:
    """Build a classifier.

    Args:
        name: A model of this package or of timm.
        num_classes: Number of outputs.
        img_size: Height and width of the images; ignored by models of timm that take any size.
        model_args: Further arguments of the model's constructor.
        pretrained: Load the weights that the model's configuration refers to.

    Raises:
        UserError: The name or an argument is unknown, or the arguments are inconsistent.
    """
    name = known_model(name)
    arguments = {"num_classes": num_classes, **_size_argument(name, img_size), **model_args}
    try:
        return timm.create_model(name, pretrained=pretrained, **arguments)
    except TypeError as error:
        unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unexpected is None:
            raise _build_error(name, model_args, error) from error
        close = nearest(unexpected[1], _constructor_arguments(name))
        raise UserError(f"model_args: {name} takes no {unexpected[1]!r}{close}") from error
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _build_error(name, model_args, error) from error


def enable_grad_checkpointing(model: nn.Module, name: str, option: str = "trainer.grad_checkpointing") -> None:
    """Enable gradient checkpointing, which recomputes activations in the backward pass to save memory.

    Args:
        model: A model of timm or of this package.
        name: Name of the model, for the error message.
        option: Option that requires it, for the error message.

    Raises:
        UserError: The model doesn't support it.
    """
    try:
        model.set_grad_checkpointing()  # type: ignore[operator]  # every model of timm has it
    except (AssertionError, AttributeError) as error:
        raise UserError(f"{option}: {name} doesn't support it; leave it out") from error


def default_size(name: str) -> tuple[int, int]:
    """Return the height and width in the model's configuration; 224 x 224 if it has none."""
    _, height, width = _config(known_model(name)).get("input_size", (3, 224, 224))
    return height, width


def _config(name: str) -> dict[str, Any]:
    """Return timm's configuration of a model; empty for a model on the Hub, which timm knows only after loading."""
    config = None if name.startswith(HUB_PREFIXES) else get_pretrained_cfg(name)
    return config.to_dict() if config else {}


def _size_argument(name: str, img_size: tuple[int, int]) -> dict[str, Any]:
    """Return the argument ``img_size`` for models that accept it."""
    accepts_size = name in MODELS or _config(name).get("fixed_input_size", False)
    return {"img_size": img_size} if accepts_size else {}


def _constructor_arguments(name: str) -> list[str]:
    with torch.device("meta"):
        cls = type(timm.create_model(name))
    return [key for key in inspect.signature(cls.__init__).parameters if key not in ("self", "kwargs")]


def _build_error(name: str, model_args: Mapping[str, Any], error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"model {name} can't be built with model_args {dict(model_args)}: {reason}")

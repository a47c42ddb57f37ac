"""Models by name: this package's, or any other that timm knows, with names and settings checked."""

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
from msgformer.models.loading import load_weights
from msgformer.models.registry import known_model


def build_model(
    name: str,
    num_classes: int,
    img_size: tuple[int, int],
    model_args: Mapping[str, Any],
    *,
    pretrained: bool = False,
) -> nn.Module:
    """A classifier.

    Args:
        name: A model of this package or of timm.
        num_classes: Outputs.
        img_size: Height and width of the images; models of any size take it as a hint, or not at all.
        model_args: Further arguments of the model's constructor.
        pretrained: Start from the weights that the model's configuration points to.

    Raises:
        UserError: the name or an argument isn't known, or the arguments don't go together.
    """
    name = known_model(name)
    arguments = {"num_classes": num_classes, **_size_argument(name, img_size), **model_args}
    try:
        return timm.create_model(name, pretrained=pretrained, **arguments)
    except TypeError as error:
        unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unexpected is None:
            raise _refused(name, model_args, error) from error
        close = nearest(unexpected[1], _constructor_arguments(name))
        raise UserError(f"model_args: {name} takes no {unexpected[1]!r}{close}") from error
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _refused(name, model_args, error) from error


def start_from(model: nn.Module, path: str) -> None:
    """Load the weights of the same model with any classes; its classifier stays new where the classes differ.

    Raises:
        UserError: the file can't be read, or is of another model.
    """
    classifier = model.pretrained_cfg["classifier"]  # type: ignore[index]  # every model of timm has it
    load_weights(model, path, may_differ=(classifier,) if isinstance(classifier, str) else classifier)


def checkpoint_gradients(model: nn.Module, name: str, option: str = "trainer.grad_checkpointing") -> None:
    """Have the model compute activations again in the backward pass instead of keeping them.

    Args:
        model: A model of timm or of this package.
        name: What it is called.
        option: What asks for it.

    Raises:
        UserError: it can't.
    """
    try:
        model.set_grad_checkpointing()  # type: ignore[operator]  # every model of timm has it
    except (AssertionError, AttributeError) as error:
        raise UserError(f"{option}: {name} doesn't support it; leave it out") from error


def default_size(name: str) -> tuple[int, int]:
    """Height and width that a model is made for, as its configuration says; 224 x 224 where it says nothing."""
    _, height, width = _config(known_model(name)).get("input_size", (3, 224, 224))
    return height, width


def _config(name: str) -> dict[str, Any]:
    """What timm says about a model; nothing of one from elsewhere, as that is known only once it is loaded."""
    config = None if name.startswith(HUB_PREFIXES) else get_pretrained_cfg(name)
    return config.to_dict() if config else {}


def _size_argument(name: str, img_size: tuple[int, int]) -> dict[str, Any]:
    """The size, for models that must be or can be told it."""
    told = name in MODELS or _config(name).get("fixed_input_size", False)
    return {"img_size": img_size} if told else {}


def _constructor_arguments(name: str) -> list[str]:
    with torch.device("meta"):
        cls = type(timm.create_model(name))
    return [key for key in inspect.signature(cls.__init__).parameters if key not in ("self", "kwargs")]


def _refused(name: str, model_args: Mapping[str, Any], error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"model {name} can't be built with model_args {dict(model_args)}: {reason}")

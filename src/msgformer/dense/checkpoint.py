"""Weights of a classifier, taken over by a backbone."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from msgformer.errors import UserError
from msgformer.models.checkpoint import read_checkpoint

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys under which training programs keep the weights, the ones to prefer first."""


def load_backbone(model: nn.Module, path: str | Path) -> None:
    """Load a classification checkpoint into a model without classifier.

    The model's own filter (timm's convention: ``checkpoint_filter_fn`` beside the class) renames parameters and
    resamples bias tables. What belongs to parts that the backbone has not, the classifier and the final norm, is
    left out; everything else has to fit.

    Args:
        model: the backbone.
        path: checkpoint, .safetensors or .pth.

    Raises:
        UserError: the file can't be read, or a parameter of the backbone is missing in it or has another shape.
    """
    state = unwrap(read_checkpoint(path))
    filter_fn = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if filter_fn is not None:
        state = filter_fn(state, model)
    own = model.state_dict()
    parts = {name.split(".")[0] for name in own}
    state = {name: value for name, value in state.items() if name.split(".")[0] in parts}
    problems = (
        [f"it lacks {name}" for name in own if name not in state]
        + [f"{name} is not part of the model" for name in state if name not in own]
        + [
            f"{name} has shape {tuple(value.shape)}, not {tuple(own[name].shape)}"
            for name, value in state.items()
            if name in own and value.shape != own[name].shape
        ]
    )
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(
            f"checkpoint {str(path)!r} doesn't fit backbone {type(model).__name__}: {problems[0]}{more}; "
            "give a checkpoint of the same model"
        )
    model.load_state_dict(state)


def unwrap(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in a checkpoint, without the prefix that parallel training puts in front of names."""
    for key in WRAPPERS:
        if isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
            break
    return {name.removeprefix("module."): value for name, value in checkpoint.items() if isinstance(value, Tensor)}

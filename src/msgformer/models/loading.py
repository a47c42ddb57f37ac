"""Weights of a checkpoint into a model, made to fit where names or sizes differ."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table
from torch import Tensor, nn

from msgformer.checkpoints.weights_file import read_checkpoint
from msgformer.errors import UserError
from msgformer.models.backbone import Backbone, model_weights
from msgformer.models.official_weights import rename_official

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys under which training programs keep the weights, the ones to prefer first."""

PREFIXES = ("module.", "model.")
"""What parallel training, and then Lightning, put in front of every name."""


def load_weights(model: nn.Module, path: str | Path, *, may_differ: Collection[str] = ()) -> list[str]:
    """Load a checkpoint of the same architecture, whatever its classes, its image size and its window.

    The model's own filter (timm's convention: ``checkpoint_filter_fn`` beside the class), or that of this module for a
    `Backbone`, renames parameters and resamples bias tables. What belongs to parts that the model has not, as the
    classifier in a backbone, is left out; everything else has to fit.

    Args:
        model: What to load into.
        path: Checkpoint, .safetensors or .pth, or one in a run folder.
        may_differ: Parts of the model, such as its classifier, that keep their own weights where the checkpoint's
            are missing or of another shape.

    Returns:
        Names of the parameters that kept their own weights.

    Raises:
        UserError: the file can't be read, or a parameter is missing in it or has another shape.
    """
    return fit_weights(model, read_checkpoint(path), path, may_differ=may_differ)


def fit_weights(
    model: nn.Module, checkpoint: Mapping[str, Any], path: str | Path, *, may_differ: Collection[str] = ()
) -> list[str]:
    """Do what `load_weights` does with a checkpoint that has been read; error messages name ``path``."""
    state = unwrap(checkpoint)
    default = checkpoint_filter_fn if isinstance(model, Backbone) else None
    filter_fn = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", default)
    if filter_fn is not None:
        state = filter_fn(state, model)
    own = model.state_dict()
    parts = {name.split(".")[0] for name in own}
    state = {name: value for name, value in state.items() if name.split(".")[0] in parts}
    misfits = dict(_misfits(state, own))
    kept = [name for name in misfits if name in own and name.startswith(tuple(f"{part}." for part in may_differ))]
    problems = [problem for name, problem in misfits.items() if name not in kept]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(
            f"checkpoint {str(path)!r} doesn't fit {type(model).__name__}: {problems[0]}{more}; "
            "give a checkpoint of the same model"
        )
    model.load_state_dict({**own, **{name: value for name, value in state.items() if name not in kept}})
    return kept


def unwrap(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in a checkpoint, by names without what training programs put in front of all of them."""
    for key in WRAPPERS:
        if isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
            break
    state = {name: value for name, value in checkpoint.items() if isinstance(value, Tensor)}
    for prefix in PREFIXES:
        if any(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return state


def _misfits(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Names of the parameters that don't fit, and why."""
    for name, value in own.items():
        if name not in state:
            yield name, f"it lacks {name}"
        elif state[name].shape != value.shape:
            yield name, f"{name} has shape {tuple(state[name].shape)}, not {tuple(value.shape)}"
    yield from ((name, f"{name} is not part of the model") for name in state if name not in own)


def checkpoint_filter_fn(state_dict: Mapping[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """Renames official parameters, and resamples bias tables and position embeddings of another size.

    Args:
        state_dict: A checkpoint by our names or the official ones, bare or nested as official files are; or the state
            of a training run, whose names start with "model.".
        model: The model that is to load it.

    Returns:
        Parameters by the names of ``model``.
    """
    state = rename_official(model_weights(state_dict))
    own = model.state_dict()
    return {name: _resample(name, value, model, own) for name, value in state.items()}


def _resample(name: str, value: Tensor, model: Any, own: Mapping[str, Tensor]) -> Tensor:
    if name not in own or own[name].shape == value.shape:
        return value
    if name.endswith("relative_position_bias_table"):
        attention = model.get_submodule(name.rpartition(".")[0])
        return resize_rel_pos_bias_table(value, attention.window_size, own[name].shape)
    if name == "pos_embed":
        return resample_abs_pos_embed(value, list(model.pos_embed_size), num_prefix_tokens=0)
    return value

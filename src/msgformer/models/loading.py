"""Load the weights of a checkpoint into a model; rename and resample parameters where names or sizes differ."""

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
"""Keys under which training programs store weights, in order of preference."""

PREFIXES = ("module.", "model.")
"""Prefixes that parallel training and Lightning add to every name."""


def load_weights(model: nn.Module, path: str | Path, *, may_differ: Collection[str] = ()) -> list[str]:
    """Load a checkpoint of the same architecture, for any number of classes, image size and window size.

    The model's own filter (timm's convention: ``checkpoint_filter_fn`` next to the class), or that of this module for a
    `Backbone`, renames parameters and resamples bias tables. Parameters of parts that the model does not have, such as
    a classifier, are ignored; everything else has to fit.

    Args:
        model: Model to load into.
        path: Checkpoint, .safetensors or .pth, or one in a run folder.
        may_differ: Parts of the model, such as its classifier, that stay unchanged where the checkpoint's parameters
            are missing or have another shape.

    Returns:
        Names of the parameters that stayed unchanged.

    Raises:
        UserError: The file can't be read, or a parameter is missing or has another shape.
    """
    return fit_weights(model, read_checkpoint(path), path, may_differ=may_differ)


def fit_weights(
    model: nn.Module, checkpoint: Mapping[str, Any], path: str | Path, *, may_differ: Collection[str] = ()
) -> list[str]:
    """Load a checkpoint that has been read, as `load_weights` does.

    Args:
        model: Model to load into.
        checkpoint: Contents of the checkpoint.
        path: Path for error messages.
        may_differ: Parts of the model that may stay unchanged, see `load_weights`.

    Returns:
        Names of the parameters that stayed unchanged.

    Raises:
        UserError: A parameter is missing or has another shape.
    """
    state = unwrap(checkpoint)
    default = checkpoint_filter_fn if isinstance(model, Backbone) else None
    filter_fn = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", default)
    if filter_fn is not None:
        state = filter_fn(state, model)
    own = model.state_dict()
    parts = {name.split(".")[0] for name in own}
    state = {name: value for name, value in state.items() if name.split(".")[0] in parts}
    mismatches = dict(_mismatches(state, own))
    unchanged = [
        name for name in mismatches if name in own and name.startswith(tuple(f"{part}." for part in may_differ))
    ]
    problems = [problem for name, problem in mismatches.items() if name not in unchanged]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(
            f"checkpoint {str(path)!r} doesn't fit {type(model).__name__}: {problems[0]}{more}; "
            "give a checkpoint of the same model"
        )
    model.load_state_dict({**own, **{name: value for name, value in state.items() if name not in unchanged}})
    return unchanged


def unwrap(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Extract the weights of a checkpoint and strip the common prefix of training programs.

    Args:
        checkpoint: Contents of the checkpoint.

    Returns:
        Parameters [...] by name.
    """
    for key in WRAPPERS:
        if isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
            break
    state = {name: value for name, value in checkpoint.items() if isinstance(value, Tensor)}
    for prefix in PREFIXES:
        if any(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return state


def _mismatches(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Yield the names of the parameters that do not fit, with the reason."""
    for name, value in own.items():
        if name not in state:
            yield name, f"{name} is missing"
        elif state[name].shape != value.shape:
            yield name, f"{name} has shape {tuple(state[name].shape)}, not {tuple(value.shape)}"
    yield from ((name, f"{name} is not part of the model") for name in state if name not in own)


def checkpoint_filter_fn(state_dict: Mapping[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """Rename official parameters, and resample bias tables and position embeddings of another size.

    Args:
        state_dict: Checkpoint with our names or the official ones, flat or nested as in official files; or the state of
            a training run, whose names start with "model.".
        model: Model that will load it.

    Returns:
        Parameters [...] by the names of ``model``.

    Raises:
        UserError: Bias tables of windows that aren't square would have to be resampled.
    """
    state = rename_official(model_weights(state_dict))
    own = model.state_dict()
    return {name: resample(name, value, model, own) for name, value in state.items()}


def resample(name: str, value: Tensor, model: Any, own: Mapping[str, Tensor]) -> Tensor:
    """Resample a bias table or position embedding of another size; return any other parameter unchanged.

    Args:
        name: Name of the parameter.
        value: Its value in the checkpoint, such as a bias table [positions, heads].
        model: Model that will load it.
        own: Parameters of the model.

    Returns:
        The value with the shape of the model's parameter.

    Raises:
        UserError: A bias table of windows that aren't square would have to be resampled.
    """
    if name not in own or own[name].shape == value.shape:
        return value
    if name.endswith("relative_position_bias_table"):
        window = model.get_submodule(name.rpartition(".")[0]).window_size
        try:
            return resize_rel_pos_bias_table(value, window, own[name].shape)
        except ValueError as error:  # a table with this number of entries can't be square
            raise UserError(
                f"{name} has {len(value)} entries, which don't come from square windows; set the window_size of the"
                f" checkpoint, not {window[0]} x {window[1]}"
            ) from error
    if name == "pos_embed":
        return resample_abs_pos_embed(value, list(model.pos_embed_size), num_prefix_tokens=0)
    return value

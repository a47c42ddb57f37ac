"""Conversion of official checkpoints: map their parameter names to ours, and check that they fit the model."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

from msgformer.errors import UserError
from msgformer.model_names import MODELS

Replacement = str | Callable[[re.Match[str]], str]

MSG_TRANSFORMER: tuple[tuple[str, Replacement], ...] = (
    (r"^layers\.(\d+)\.blocks\.", r"stages.\1.blocks."),
    # Official models downsample at the end of a stage, ours at the beginning of the next stage.
    (r"^layers\.(\d+)\.downsample\.", lambda match: f"stages.{int(match[1]) + 1}.downsample."),
)
"""Regular expressions on official names with their replacements; all that match are applied in order."""

# Hybrid and self-guided blocks alternate in the first three stages. Both have kv1 and kv2, with different meanings.
_HYBRID = r"^(stages\.[0-2]\.blocks\.\d*[02468]\.attn)\."
_SELF_GUIDED = r"^(stages\.[0-2]\.blocks\.\d*[13579]\.attn)\."

SG_FORMER: tuple[tuple[str, Replacement], ...] = (
    (r"^patch_embed1\.norm\.", "patch_embed.norm."),
    (r"^patch_embed1\.conv\.([024])\.", lambda match: f"patch_embed.layers.{int(match[1]) // 2}."),
    (
        r"^patch_embed([2-4])\.conv([1-3])\.",
        lambda match: f"stages.{int(match[1]) - 1}.downsample.layers.{int(match[2]) - 1}.",
    ),
    (r"(\.layers\.[0-2])\.c\.", r"\1.conv."),
    (r"(\.layers\.[0-2])\.bn\.", r"\1.norm."),
    (r"^block([1-4])\.", lambda match: f"stages.{int(match[1]) - 1}.blocks."),
    (r"^norm([1-4])\.", lambda match: f"stages.{int(match[1]) - 1}.norm."),
    (r"\.attn\.lepe_(linear|conv)\.", r".attn.lepe.\1."),
    (r"\.mlp\.dwconv\.dwconv\.", ".mlp.dwconv."),
    (_HYBRID + r"q1\.", r"\1.q_global."),
    (_HYBRID + r"kv1\.", r"\1.kv_global."),
    (_HYBRID + r"q2\.", r"\1.q_local."),
    (_HYBRID + r"kv2\.", r"\1.kv_local."),
    (_HYBRID + r"sr\.", r"\1.reduction."),
    (_HYBRID + r"norm\.", r"\1.reduction_norm."),
    (_SELF_GUIDED + r"kv1\.", r"\1.kv_row."),
    (_SELF_GUIDED + r"kv2\.", r"\1.kv_column."),
    (_SELF_GUIDED + r"f([1-3])\.", lambda match: f"{match[1]}.merge.{int(match[2]) - 1}."),
)
"""Replacements for SG-Former."""

HEAD: tuple[tuple[str, Replacement], ...] = ((r"^head\.(weight|bias)$", r"head.fc.\1"),)
"""Replacements for both families."""

WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")
"""Prefixes added by data parallelism and compilation."""

BUFFERS = re.compile(r"\.(relative_position_index|attn_mask)$")
"""Buffers that official models store and our models compute."""


def convert_state_dict(official: Mapping[str, Any], model: nn.Module, *, ema: bool = True) -> dict[str, Tensor]:
    """Convert the parameters of an official checkpoint for ``model.load_state_dict``.

    Args:
        official: Checkpoint with official names or ours: parameters, or a dictionary that holds them under ``model``,
            ``state_dict`` or ``state_dict_ema``; names may begin with ``module.``.
        model: Model of the checkpoint.
        ema: Prefer averaged weights if the checkpoint has both averaged and last weights.

    Returns:
        The same tensors [...] by the names of ``model``, in its order.

    Raises:
        UserError: The checkpoint is of another model. The message names the first parameter that differs, and the model
            of this package that fits, if there is one.
    """
    state = rename_official(official, ema=ema)
    _check(state, model)
    return {name: state[name] for name in model.state_dict()}


def rename_official(official: Mapping[str, Any], *, ema: bool = True) -> dict[str, Tensor]:
    """Rename the parameters of an official checkpoint, of any model.

    Args:
        official: See `convert_state_dict`.
        ema: See `convert_state_dict`.

    Returns:
        The same tensors [...] by our names.

    Raises:
        UserError: A parameter is not a tensor, or occurs twice.
    """
    state: dict[str, Tensor] = {}
    for name, value in _parameters(official, ema).items():
        ours = our_name(name)
        if BUFFERS.search(ours):
            continue
        if not isinstance(value, Tensor):
            raise UserError(
                f"the checkpoint's {name!r} is of type {type(value).__name__}, not a tensor; parameters are expected "
                "at the top level or under 'model', 'state_dict' or 'state_dict_ema'"
            )
        if ours in state:
            raise UserError(f"the checkpoint holds {ours!r} twice, once as {name!r}; remove one of them")
        state[ours] = value.detach()
    return state


def our_name(official: str) -> str:
    """Return our name for an official parameter name; our own names are returned unchanged."""
    name = WRAPPERS.sub("", official)
    for pattern, replacement in (*MSG_TRANSFORMER, *SG_FORMER, *HEAD):
        name = re.sub(pattern, replacement, name)
    return name


def find_variant(state: Mapping[str, Tensor]) -> str | None:
    """Find the model of this package that parameters belong to, for any image size and number of classes.

    Args:
        state: Parameters [...] by our names.

    Returns:
        Name of the model, or None.
    """
    shapes = _body(state)
    family = "msg_" if "msg_tokens" in state else "sg"
    for name in (name for name in MODELS if name.startswith(family)):
        with torch.device("meta"):
            model = timm.create_model(name)
        if _body(model.state_dict()) == shapes:
            return name
    return None


def _parameters(official: Mapping[str, Any], ema: bool) -> Mapping[str, Any]:
    """Return the part of a checkpoint that holds the parameters."""
    keys = ["state_dict", "model"]
    keys.insert(0 if ema else len(keys), "state_dict_ema")
    return next((official[key] for key in keys if isinstance(official.get(key), Mapping)), official)


def _body(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of parameters that do not depend on image size and number of classes."""
    return {name: tuple(value.shape) for name, value in state.items() if not _adjustable(name)}


def _adjustable(name: str) -> bool:
    return name == "pos_embed" or name.startswith("head.")


def _check(state: Mapping[str, Tensor], model: nn.Module) -> None:
    """Raise UserError where names or shapes differ from those of the model."""
    given = {name: tuple(value.shape) for name, value in state.items()}
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    # Report parameters that distinguish variants first, adjustable ones last.
    names = sorted({**wanted, **given}, key=_adjustable)
    different = [name for name in names if given.get(name) != wanted.get(name)]
    if not different:
        return
    first = different[0]
    if first not in given:
        problem = f"the checkpoint has no {first!r}, which is {wanted[first]} in the model"
    elif first not in wanted:
        problem = f"the model has no {first!r}, which is {given[first]} in the checkpoint"
    else:
        problem = f"{first!r} is {given[first]} in the checkpoint and {wanted[first]} in the model"
    more = f" (the first of {len(different)} differences)" if len(different) > 1 else ""
    raise UserError(f"{problem}{more}; {_remedy(state, wanted, different)}")


def _remedy(state: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], different: list[str]) -> str:
    adjustable = all(_adjustable(name) for name in different)
    settings = {}
    if any(name.startswith("head.") for name in different):
        settings["num_classes"] = str(len(state.get("head.fc.weight", ())))
    if "pos_embed" in different and "pos_embed" in state and "pos_embed" in wanted:
        tokens = state["pos_embed"].shape[1]
        side = math.isqrt(tokens)
        # One token is 4 x 4 pixels.
        settings["img_size"] = str(4 * side) if side**2 == tokens else f"(height, width), {tokens} x 16 pixels"
    if adjustable and settings:
        return f"build the model with {' and '.join(f'{key}={value}' for key, value in settings.items())}"
    variant = None if adjustable else find_variant(state)
    return f"the checkpoint looks like {variant!r}" if variant else "give the model of the checkpoint"

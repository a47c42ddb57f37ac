"""Weights that fit a model in all but names or sizes, made to fit: the filter that timm runs on a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table
from torch import Tensor, nn

from msgformer.models.convert import rename_official


def checkpoint_filter_fn(state_dict: Mapping[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """Renames official parameters, and resamples bias tables and position embeddings of another size.

    Args:
        state_dict: A checkpoint by our names or the official ones, bare or nested as official files are.
        model: The model that is to load it.

    Returns:
        Parameters by the names of ``model``.
    """
    state = rename_official(state_dict)
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

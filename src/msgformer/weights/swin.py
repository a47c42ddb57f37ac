"""Initialize an MSG-Transformer from the weights of a Swin Transformer.

The v1 models have the widths, depths and layers of Swin: all weights except the messengers are copied unchanged. For
the other variants, channels and blocks are repeated or dropped, and kernels are embedded in larger ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.layers import resize_rel_pos_bias_table
from torch import Tensor, nn

from msgformer.checkpoints.weights_file import read_checkpoint
from msgformer.errors import UserError
from msgformer.model_names import nearest
from msgformer.models.loading import unwrap
from msgformer.models.merging import OverlappingMerging
from msgformer.models.msg_transformer import MsgTransformer

Shape = tuple[int, ...]

RENAMED = (
    (r"^layers\.", "stages."),
    (r"^head\.(weight|bias)$", r"head.fc.\1"),
)
"""Patterns in the names of a Swin's parameters, and their replacements."""

BUFFERS = re.compile(r"(relative_position_index|attn_mask)$")
"""Ends of the names of buffers, which no model of this package has."""


class ParameterOrigins(NamedTuple):
    """Names of the model's parameters by the origin of their values.

    Attributes:
        copied: Copied unchanged from the Swin.
        resized: Resized, resampled or embedded in a larger kernel.
        new: Not in the Swin; initialized by the model.
    """

    copied: list[str]
    resized: list[str]
    new: list[str]


def load_swin(model: nn.Module, swin: Mapping[str, Tensor]) -> ParameterOrigins:
    """Load the weights of a Swin Transformer into an MSG-Transformer, as far as they fit.

    If the widths differ, channel c of the model is channel c mod C of the Swin. A channel that occurs k times has the
    weight 1/k wherever channels are summed, so that the sums do not change. If the depths differ, the blocks of a stage
    are chosen at even distances. The classifier is copied if the number of classes is the same.

    Args:
        model: An MSG-Transformer of any variant.
        swin: Parameters of a Swin Transformer (version 1), by timm's or the official names.

    Returns:
        The origin of each parameter.

    Raises:
        UserError: The model is not an MSG-Transformer, the parameters are not those of a Swin, or their heads have
            another width.
    """
    if not isinstance(model, MsgTransformer):
        raise UserError(f"a Swin's weights fit MSG-Transformer only, not {type(model).__name__}")
    source = _rename_parameters(swin)
    _check_heads(model, source)
    origins = ParameterOrigins([], [], [])
    state: dict[str, Tensor] = {}
    for name, own in model.state_dict().items():
        value, is_unchanged = _value(name, own, model, source)
        if value is None:
            origins.new.append(name)
            continue
        (origins.copied if is_unchanged else origins.resized).append(name)
        state[name] = value.to(own)
    model.load_state_dict({**model.state_dict(), **state})
    return origins


def _rename_parameters(swin: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a Swin's parameters to those of the v1 models; token merging belongs to the following stage, as in timm.

    Raises:
        UserError: The parameters are not those of a Swin.
    """
    names = [name for name in swin if not BUFFERS.search(name)]
    if "layers.0.blocks.0.attn.relative_position_bias_table" not in names or "patch_embed.proj.weight" not in names:
        raise UserError(
            "these are not weights of a Swin Transformer (version 1); give a Swin of timm or an official one"
        )
    # The official code merges tokens at the end of a stage.
    stage_offset = 1 if "layers.0.downsample.norm.weight" in names else 0
    source: dict[str, Tensor] = {}
    for name in names:
        ours = re.sub(r"^layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) + stage_offset}.downsample", name)
        for pattern, replacement in RENAMED:
            ours = re.sub(pattern, replacement, ours)
        source[ours] = swin[name].detach()
    return source


def _check_heads(model: MsgTransformer, source: Mapping[str, Tensor]) -> None:
    """Raise UserError if the heads differ in width, so that channels can't be copied head by head."""
    attention = model.stages[0].blocks[0].attn
    width = attention.qkv.in_features // attention.num_heads
    swin_width = source["stages.0.blocks.0.attn.qkv.weight"].shape[1]
    swin_width //= source["stages.0.blocks.0.attn.relative_position_bias_table"].shape[1]
    if width != swin_width:
        raise UserError(
            f"the Swin's heads are {swin_width} channels wide and the model's {width}; give the model {swin_width}"
        )


def _value(name: str, own: Tensor, model: MsgTransformer, source: Mapping[str, Tensor]) -> tuple[Tensor | None, bool]:
    """Return the value of a parameter made from the Swin's, or None, and whether it is unchanged."""
    source_name = _source_name(name, model, source)
    if name.endswith(("msg_tokens", "rel_pos_msg")):
        return None, False
    if ".downsample." in name and isinstance(_merging(name, model), OverlappingMerging):
        value = _overlapping(name, own, source)
        return value, False
    if source_name not in source:
        return None, False
    value = source[source_name]
    if name.startswith("head.fc") and len(value) != len(own):
        return None, False
    if name == "patch_embed.proj.weight":
        value = _embed_kernel(_adapt_colors(value, own.shape[1]), own.shape[-1], start=2)
    if name.endswith("relative_position_bias_table"):
        value = resize_rel_pos_bias_table(value, _window(name, model), (own.shape[0], value.shape[1]))
        value = value[:, channel_indices(own.shape[1], value.shape[1])]
    elif name.endswith(("qkv.weight", "qkv.bias")):
        value = torch.cat([resize_channels(part, (own.shape[0] // 3, *own.shape[1:])) for part in value.chunk(3)])
    elif ".downsample." in name:
        value = _four_neighbors(value, own.shape, name)
    else:
        value = resize_channels(value, own.shape)
    is_unchanged = source_name == name and value.shape == source[name].shape and torch.equal(value, source[name])
    return value, is_unchanged


def _source_name(name: str, model: MsgTransformer, source: Mapping[str, Tensor]) -> str:
    """Return the name of the Swin's parameter for a parameter: that of the block at the same relative depth."""
    found = re.match(r"stages\.(\d+)\.blocks\.(\d+)\.(.*)", name)
    if found is None:
        return name
    stage, block = int(found[1]), int(found[2])
    depth = len(model.stages[stage].blocks)
    pattern = re.compile(rf"stages\.{stage}\.blocks\.(\d+)\.")
    swin_depth = max((int(match[1]) + 1 for key in source if (match := pattern.match(key))), default=1)
    swin_block = round(block * (swin_depth - 1) / (depth - 1)) if depth > 1 else 0
    return f"stages.{stage}.blocks.{swin_block}.{found[3]}"


def channel_indices(size: int, available: int) -> Tensor:
    """Return the index of the source channel for each channel, [size].

    Args:
        size: Number of channels of the model.
        available: Number of channels of the source, which repeat cyclically.
    """
    return torch.arange(size) % available


def resize_channels(value: Tensor, shape: Shape) -> Tensor:
    """Repeat or drop channels of a weight; sums over its input channels do not change.

    Args:
        value: Weight [out, in, ...], or bias [out].
        shape: Shape of the result; only its first two sizes are used.
    """
    value = value[channel_indices(shape[0], value.shape[0])]
    if value.ndim > 1 and shape[1] != value.shape[1]:
        index = channel_indices(shape[1], value.shape[1])
        copies = torch.bincount(index, minlength=value.shape[1])[index].to(value)
        value = value[:, index] / copies.view(-1, *[1] * (value.ndim - 2))
    return value


def _four_neighbors(value: Tensor, shape: torch.Size, name: str) -> Tensor:
    """Resize a parameter of token merging, [4C] or [2C', 4C], separately for each of the four neighbors."""
    if name.endswith("reduction.weight"):
        parts = [resize_channels(part, (shape[0], shape[1] // 4)) for part in value.chunk(4, dim=1)]
        return torch.cat(parts, dim=1)
    return torch.cat([resize_channels(part, (shape[0] // 4,)) for part in value.chunk(4)])


def _overlapping(name: str, own: Tensor, source: Mapping[str, Tensor]) -> Tensor | None:
    """Make a parameter of the 3 x 3 token merging convolution from the Swin's norm and linear layer.

    The weights of the four neighbors, multiplied by the scale of the norm, become the last two rows and columns of the
    kernel. The norm itself is new, because it follows the sum here and precedes it in Swin.
    """
    prefix = name.rpartition("downsample.")[0] + "downsample."
    weight, scale, shift = (source.get(f"{prefix}{key}") for key in ("reduction.weight", "norm.weight", "norm.bias"))
    if weight is None or scale is None or shift is None or name.endswith(("norm.weight", "norm.bias")):
        return None
    if name.endswith("bias"):
        return resize_channels(weight @ shift, tuple(own.shape))
    kernel = own.new_zeros(own.shape)
    scaled = (weight * scale).chunk(4, dim=1)
    for part, (row, col) in zip(scaled, ((0, 0), (1, 0), (0, 1), (1, 1)), strict=True):
        kernel[:, :, 1 + row, 1 + col] = resize_channels(part, tuple(own.shape[:2]))
    return kernel


def _embed_kernel(value: Tensor, side: int, start: int) -> Tensor:
    """Embed the kernel of a patch embedding in a larger one of zeros, which has the same output."""
    if side == value.shape[-1]:
        return value
    kernel = value.new_zeros(*value.shape[:2], side, side)
    end = start + value.shape[-1]
    kernel[:, :, start:end, start:end] = value
    return kernel


def _adapt_colors(value: Tensor, channels: int) -> Tensor:
    """Convert a patch embedding's weight to another number of color channels; gray images give the same output."""
    if channels == value.shape[1]:
        return value
    return value.sum(dim=1, keepdim=True).repeat(1, channels, 1, 1) / channels


def _merging(name: str, model: MsgTransformer) -> Any:
    """Return the token merging that a parameter belongs to."""
    return model.stages[int(name.split(".")[1])].downsample


def _window(name: str, model: MsgTransformer) -> tuple[int, int]:
    """Return the window size of the attention that a parameter belongs to."""
    return model.get_submodule(name.rpartition(".")[0]).window_size  # type: ignore[return-value]


def read_swin(source: str) -> dict[str, Tensor]:
    """Read the parameters of a checkpoint, or download those of a timm model.

    Raises:
        UserError: There is no such file or model, or its weights can't be downloaded.
    """
    if Path(source).is_file():
        return unwrap(read_checkpoint(source))
    known = timm.list_models("swin_*")
    has_scheme = source.startswith(("hf-hub:", "hf_hub:", "local-dir:"))
    if not has_scheme and source.partition(".")[0] not in known:
        raise UserError(f"source: neither a file nor a Swin model of timm: {source!r}{nearest(source, known)}")
    try:
        return timm.create_model(source, pretrained=True).state_dict()
    except Exception as error:  # the clients of the Hub raise errors of many types
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"source: the weights of {source} can't be downloaded ({reason}); download the file elsewhere and give its"
            " path"
        ) from error

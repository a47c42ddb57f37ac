"""Weights of a Swin Transformer for an MSG-Transformer to start from.

Version 1 has Swin's widths, depths and parts, so that everything but messengers is carried as it is. For the other
variants channels and blocks are stretched or cut to size, and kernels are laid into larger ones.
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
from msgformer.models.msg_transformer import MsgTransformer, OverlappingMerging

Shape = tuple[int, ...]

RENAMED = (
    (r"^layers\.", "stages."),
    (r"^head\.(weight|bias)$", r"head.fc.\1"),
)
BUFFERS = re.compile(r"(relative_position_index|attn_mask)$")


class Carried(NamedTuple):
    """Names of the model's parameters by where their values come from.

    Attributes:
        carried: From the Swin as they are.
        stretched: From the Swin, stretched, cut, resampled or laid into a larger kernel.
        new: The model's own: the Swin has nothing like them.
    """

    carried: list[str]
    stretched: list[str]
    new: list[str]


def load_swin(model: nn.Module, swin: Mapping[str, Tensor]) -> Carried:
    """Carries every fitting weight of a Swin Transformer into an MSG-Transformer.

    Where the widths differ, channel c of the model takes channel c mod C of the Swin; a channel that is there k times
    counts 1/k wherever channels are summed, so that the sums stay. Where the depths differ, the blocks of a stage
    are taken at even distances. The classifier is carried where the classes are as many.

    Args:
        model: An MSG-Transformer of any variant.
        swin: Parameters of a Swin Transformer (version 1) by timm's names or the official ones.

    Returns:
        What came from where.

    Raises:
        UserError: The model is no MSG-Transformer, the parameters aren't those of a Swin, or their heads have
            another width.
    """
    if not isinstance(model, MsgTransformer):
        raise UserError(f"a Swin's weights fit MSG-Transformer only, not {type(model).__name__}")
    source = _by_our_names(swin)
    _check_heads(model, source)
    report = Carried([], [], [])
    state: dict[str, Tensor] = {}
    for name, own in model.state_dict().items():
        value, same = _value(name, own, model, source)
        if value is None:
            report.new.append(name)
            continue
        (report.carried if same else report.stretched).append(name)
        state[name] = value.to(own)
    model.load_state_dict({**model.state_dict(), **state})
    return report


def _by_our_names(swin: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A Swin's parameters by the names of version 1 here; token merging stands in front of a stage, as in timm.

    Raises:
        UserError: They aren't a Swin's.
    """
    names = [name for name in swin if not BUFFERS.search(name)]
    if "layers.0.blocks.0.attn.relative_position_bias_table" not in names or "patch_embed.proj.weight" not in names:
        raise UserError("these are no weights of a Swin Transformer (version 1); give one of timm's or an official one")
    # The official code merges tokens at the end of a stage.
    late = 1 if "layers.0.downsample.norm.weight" in names else 0
    source: dict[str, Tensor] = {}
    for name in names:
        ours = re.sub(r"^layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) + late}.downsample", name)
        for pattern, replacement in RENAMED:
            ours = re.sub(pattern, replacement, ours)
        source[ours] = swin[name].detach()
    return source


def _check_heads(model: MsgTransformer, source: Mapping[str, Tensor]) -> None:
    """Raises UserError where heads differ in width: channels could not be taken head by head."""
    ours = model.stages[0].blocks[0].attn
    width = ours.qkv.in_features // ours.num_heads
    theirs = source["stages.0.blocks.0.attn.qkv.weight"].shape[1]
    theirs //= source["stages.0.blocks.0.attn.relative_position_bias_table"].shape[1]
    if width != theirs:
        raise UserError(f"the Swin's heads are {theirs} channels wide and the model's {width}; give the model {theirs}")


def _value(name: str, own: Tensor, model: MsgTransformer, source: Mapping[str, Tensor]) -> tuple[Tensor | None, bool]:
    """A parameter's value made from the Swin's, or None, and whether it is the Swin's as it is."""
    there = _source_name(name, model, source)
    if name.endswith(("msg_tokens", "rel_pos_msg")):
        return None, False
    if ".downsample." in name and isinstance(_merging(name, model), OverlappingMerging):
        value = _overlapping(name, own, source)
        return value, False
    if there not in source:
        return None, False
    value = source[there]
    if name.startswith("head.fc") and len(value) != len(own):
        return None, False
    if name == "patch_embed.proj.weight":
        value = _in_larger_kernel(_adapt_colors(value, own.shape[1]), own.shape[-1], start=2)
    if name.endswith("relative_position_bias_table"):
        value = resize_rel_pos_bias_table(value, _window(name, model), (own.shape[0], value.shape[1]))
        value = value[:, take(own.shape[1], value.shape[1])]
    elif name.endswith(("qkv.weight", "qkv.bias")):
        value = torch.cat([stretch(part, (own.shape[0] // 3, *own.shape[1:])) for part in value.chunk(3)])
    elif ".downsample." in name:
        value = _four_neighbors(value, own.shape, name)
    else:
        value = stretch(value, own.shape)
    return value, there == name and value.shape == source[there].shape and torch.equal(value, source[there])


def _source_name(name: str, model: MsgTransformer, source: Mapping[str, Tensor]) -> str:
    """The name of the Swin's parameter that a parameter is made from: of a block at the same height of the stage."""
    found = re.match(r"stages\.(\d+)\.blocks\.(\d+)\.(.*)", name)
    if found is None:
        return name
    stage, block = int(found[1]), int(found[2])
    depth = len(model.stages[stage].blocks)
    pattern = re.compile(rf"stages\.{stage}\.blocks\.(\d+)\.")
    theirs = max((int(match[1]) + 1 for key in source if (match := pattern.match(key))), default=1)
    at = round(block * (theirs - 1) / (depth - 1)) if depth > 1 else 0
    return f"stages.{stage}.blocks.{at}.{found[3]}"


def take(size: int, available: int) -> Tensor:
    """Which of the available channels stands in each place: [size]."""
    return torch.arange(size) % available


def stretch(value: Tensor, shape: Shape) -> Tensor:
    """A weight with more or fewer channels, [out] or [out, in, ...]; sums over "in" keep their size."""
    value = value[take(shape[0], value.shape[0])]
    if value.ndim > 1 and shape[1] != value.shape[1]:
        index = take(shape[1], value.shape[1])
        copies = torch.bincount(index, minlength=value.shape[1])[index].to(value)
        value = value[:, index] / copies.view(-1, *[1] * (value.ndim - 2))
    return value


def _four_neighbors(value: Tensor, shape: torch.Size, name: str) -> Tensor:
    """A parameter of token merging over four neighbors, [4C], or [2C', 4C], with the channels of each stretched."""
    if name.endswith("reduction.weight"):
        parts = [stretch(part, (shape[0], shape[1] // 4)) for part in value.chunk(4, dim=1)]
        return torch.cat(parts, dim=1)
    return torch.cat([stretch(part, (shape[0] // 4,)) for part in value.chunk(4)])


def _overlapping(name: str, own: Tensor, source: Mapping[str, Tensor]) -> Tensor | None:
    """A parameter of the 3 x 3 convolution that merges tokens, made from the Swin's norm and linear layer.

    The four neighbors are laid into the kernel's last two rows and columns, scaled as the norm scales them; the norm
    itself, which comes before the sum there and after it here, is new.
    """
    prefix = name.rpartition("downsample.")[0] + "downsample."
    weight, scale, shift = (source.get(f"{prefix}{key}") for key in ("reduction.weight", "norm.weight", "norm.bias"))
    if weight is None or scale is None or shift is None or name.endswith(("norm.weight", "norm.bias")):
        return None
    if name.endswith("bias"):
        return stretch(weight @ shift, tuple(own.shape))
    kernel = own.new_zeros(own.shape)
    scaled = (weight * scale).chunk(4, dim=1)
    for part, (row, col) in zip(scaled, ((0, 0), (1, 0), (0, 1), (1, 1)), strict=True):
        kernel[:, :, 1 + row, 1 + col] = stretch(part, tuple(own.shape[:2]))
    return kernel


def _in_larger_kernel(value: Tensor, side: int, start: int) -> Tensor:
    """A patch embedding's kernel in the middle of a larger one, which sees the same pixels through it."""
    if side == value.shape[-1]:
        return value
    kernel = value.new_zeros(*value.shape[:2], side, side)
    end = start + value.shape[-1]
    kernel[:, :, start:end, start:end] = value
    return kernel


def _adapt_colors(value: Tensor, channels: int) -> Tensor:
    """A patch embedding's weight for another number of colors: the mean of its own, so that gray stays gray."""
    if channels == value.shape[1]:
        return value
    return value.sum(dim=1, keepdim=True).repeat(1, channels, 1, 1) / channels


def _merging(name: str, model: MsgTransformer) -> Any:
    return model.stages[int(name.split(".")[1])].downsample


def _window(name: str, model: MsgTransformer) -> tuple[int, int]:
    return model.get_submodule(name.rpartition(".")[0]).window_size  # type: ignore[return-value]


def read_swin(source: str) -> dict[str, Tensor]:
    """Parameters in a checkpoint, or of a model of timm with its pre-trained weights.

    Raises:
        UserError: There is no such file or model, or its weights can't be had.
    """
    if Path(source).is_file():
        return unwrap(read_checkpoint(source))
    known = timm.list_models("swin_*")
    elsewhere = source.startswith(("hf-hub:", "hf_hub:", "local-dir:"))
    if not elsewhere and source.partition(".")[0] not in known:
        raise UserError(f"source: neither a file nor a Swin of timm: {source!r}{nearest(source, known)}")
    try:
        return timm.create_model(source, pretrained=True).state_dict()
    except Exception as error:  # whatever the hub's client meets on its way to the weights
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"source: the weights of {source} can't be had ({reason}); download the file elsewhere and give its path"
        ) from error

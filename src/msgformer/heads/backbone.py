"""Backbones for dense prediction: maps of stride 4, 8, 16 and 32 from any hierarchical timm model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from msgformer.errors import UserError
from msgformer.model_names import ALIASES, nearest
from msgformer.models.loading import load_weights
from msgformer.plugins import load_installed_plugins

STRIDES = (4, 8, 16, 32)
"""Pixels per step of each map."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DenseBackbone(nn.Module):
    """Feature maps of a model, each with its own LayerNorm; the first stages can be frozen.

    Args:
        body: Model that returns a list of maps of stride 4, 8, 16, 32 and describes them in ``feature_info``.
        map_norm: Whether to add a LayerNorm per map. By default it is added unless the body normalizes its maps itself,
            by BatchNorm or by a norm at the end of each stage. This matches the published detectors and segmenters:
            MSG-Transformer and Swin have it, ResNet and SG-Former do not.
        frozen_stages: Number of stages whose weights and statistics are frozen; the stem belongs to the first stage.

    Attributes:
        channels: Channels of each map.
        mean: Mean per channel for the normalization of images with values from 0 to 1; ImageNet's if the body has none.
        std: Standard deviation per channel for the normalization, likewise.

    Raises:
        UserError: The body returns other maps, or its stages can't be identified for freezing.
    """

    def __init__(self, body: nn.Module, map_norm: bool | None = None, frozen_stages: int = 0) -> None:
        super().__init__()
        info = getattr(body, "feature_info", None)
        if info is None or tuple(info.reduction()) != STRIDES:
            found = "no feature_info" if info is None else f"maps of stride {tuple(info.reduction())}"
            raise UserError(
                f"backbone {type(body).__name__} has {found}; a detector or segmenter needs a model with four maps "
                f"of stride {STRIDES}"
            )
        if map_norm is None:
            map_norm = not _is_normalized(body)
        config = getattr(body, "pretrained_cfg", {})
        self.mean: tuple[float, ...] = tuple(config.get("mean", IMAGENET_MEAN))
        self.std: tuple[float, ...] = tuple(config.get("std", IMAGENET_STD))
        self.channels: list[int] = list(info.channels())
        self.channels_last = getattr(body, "output_fmt", "NCHW") == "NHWC"
        self.body = body
        self.norms = nn.ModuleList(
            LayerNorm2d(channels, eps=1e-5) if map_norm else nn.Identity() for channels in self.channels
        )
        self.frozen = list(_first_stages(body, frozen_stages)) if frozen_stages else []
        for part in self.frozen:
            part.requires_grad_(False)
        self.train(self.training)  # Lightning doesn't call it before a training

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute four maps [B, C, H / stride, W / stride] of images [B, 3, H, W]; sides are rounded up."""
        maps = self.body(images)
        if self.channels_last:
            maps = [x.permute(0, 3, 1, 2) for x in maps]
        return [norm(x.contiguous()) for norm, x in zip(self.norms, maps, strict=True)]

    def train(self, mode: bool = True) -> DenseBackbone:
        """Set training or evaluation mode; frozen stages stay in evaluation mode to keep their statistics."""
        super().train(mode)
        for part in self.frozen:
            if isinstance(part, nn.Module):
                part.eval()
        return self


def create_backbone(
    backbone: str | nn.Module,
    *,
    pretrained: bool = False,
    checkpoint: str | Path | None = None,
    map_norm: bool | None = None,
    frozen_stages: int = 0,
    grad_checkpointing: bool = False,
    **model_options: Any,
) -> DenseBackbone:
    """Create a backbone for a detector or segmenter.

    Args:
        backbone: Name of a model of this package or of timm, or a module that returns a list of maps and describes them
            in ``feature_info``, as timm's ``features_only`` models do.
        pretrained: Load timm's published weights.
        checkpoint: Load a classification checkpoint (.safetensors, .pth); its classifier is ignored, and bias tables
            and position embeddings of another size are resampled.
        map_norm: Whether to add a LayerNorm per map; by default unless the model normalizes its maps itself.
        frozen_stages: Number of stages whose weights and statistics are frozen; the stem belongs to the first stage.
        grad_checkpointing: Recompute activations in the backward pass instead of storing them.
        **model_options: Further options of the model, for example ``drop_path_rate``.

    Returns:
        The backbone, for images of any size whose sides are divisible by 32.

    Raises:
        UserError: There is no such model, it returns other maps, or the checkpoint does not fit.
    """
    if isinstance(backbone, str):
        body = _create_body(backbone, pretrained, model_options)
        if checkpoint is not None:
            load_weights(body.get_submodule("model"), checkpoint)
    elif pretrained or checkpoint or model_options:
        given = ["pretrained"] * pretrained + ["checkpoint"] * bool(checkpoint) + list(model_options)
        raise UserError(f"backbone {type(backbone).__name__} is a module; options {', '.join(given)} need a model name")
    else:
        body = backbone
    if grad_checkpointing:
        enable = getattr(_timm_model(body), "set_grad_checkpointing", None)
        if enable is None:
            raise UserError(f"backbone {type(body).__name__} can't recompute activations; leave grad_checkpointing off")
        enable(True)
    return DenseBackbone(body, map_norm, frozen_stages)


def _create_body(name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    """Create a timm model that returns its last four maps, for images of any size."""
    import msgformer.models  # noqa: F401 registers this package's models with timm

    load_installed_plugins()
    name = ALIASES.get(name, name)
    if not timm.is_model(name):
        raise UserError(f"unknown backbone {name!r}{nearest(name, timm.list_models())}")
    options = {"features_only": True, "feature_cls": "getter", "out_indices": 4, **options}
    try:
        # Swin is bound to one image size unless told otherwise; other models don't know these options.
        return timm.create_model(name, pretrained, strict_img_size=False, always_partition=True, **options)
    except TypeError:
        return timm.create_model(name, pretrained, **options)


def _timm_model(body: nn.Module) -> nn.Module:
    """Return the model inside timm's wrappers."""
    inner = [getattr(body, name, None) for name in ("model", "body")]
    return next((module for module in inner if isinstance(module, nn.Module)), body)


def _stage_names(body: Any) -> list[str]:
    """Return the names of the stages as submodules of `_timm_model`; stages that are not found are left out."""
    modules = dict(_timm_model(body).named_modules())
    spellings = [{name, name.replace(".", "_")} for name in body.feature_info.module_name()]  # timm may flatten them
    return [name for stage in spellings for name in stage if name in modules]


def _is_normalized(body: nn.Module) -> bool:
    """Whether maps are normalized, by BatchNorm layers or by a LayerNorm at the end of each stage."""
    if any(isinstance(module, _BatchNorm) for module in body.modules()):
        return True
    stages = [_timm_model(body).get_submodule(name) for name in _stage_names(body)]
    last_layers = [child for stage in stages for child in list(stage.children())[-1:]]
    return len(last_layers) == len(STRIDES) and all(isinstance(layer, nn.LayerNorm) for layer in last_layers)


def _first_stages(body: nn.Module, count: int) -> Iterator[nn.Module | nn.Parameter]:
    """Yield the stem and the first stages: all modules defined up to the end of stage ``count``."""
    names = _stage_names(body)
    if len(names) != len(STRIDES) or not 0 < count <= len(STRIDES):
        raise UserError(
            f"frozen_stages={count} is not possible with backbone {type(body).__name__}: "
            f"{len(names)} of its stages were found; give 0 to {len(names)}, or freeze its parameters"
        )
    node = _timm_model(body)
    for name in names[count - 1].split("."):
        yield from node.parameters(recurse=False)
        for child_name, child in node.named_children():
            if child_name == name:
                node = child
                break
            yield child
    yield node

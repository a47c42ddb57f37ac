"""Registration of models with timm, and resolution of model names: this package's, the released ones, and timm's."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, is_model, list_models, resolve_pretrained_cfg
from torch import nn

from msgformer.errors import UserError
from msgformer.model_names import ALIASES, HUB_PREFIXES, MODELS, nearest
from msgformer.models.backbone import Backbone
from msgformer.models.loading import checkpoint_filter_fn
from msgformer.plugins import load_installed_plugins
from msgformer.utils.packages import require_package

FASTERVIT = "faster_vit_"
"""Prefix of the names that NVIDIA's package registers with timm."""


def known_model(name: str) -> str:
    """Return the name under which timm knows a model.

    Args:
        name: Name in this package or in timm, or a released name.

    Raises:
        UserError: Neither this package nor timm has the model, or the package that provides it is not installed.
    """
    load_installed_plugins()
    name = ALIASES.get(name, name)
    if name.startswith(FASTERVIT):
        require_package("fastervit", "fastervit", f"model {name!r}")
        with warnings.catch_warnings(action="ignore"):  # fastervit imports deprecated modules of timm
            importlib.import_module("fastervit.models")
    if name not in MODELS and not name.startswith(HUB_PREFIXES) and not is_model(name):
        known = [*MODELS, *ALIASES, *list_models()]
        raise UserError(f"unknown model {name!r}{nearest(name, known)} ('msgformer models' shows this package's)")
    return name


def build_backbone(model_cls: type[Backbone], variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    """Build a variant of MSG-Transformer or SG-Former for timm's registry.

    Args:
        model_cls: Class of the model.
        variant: Name in timm's registry.
        pretrained: Load weights, see `build_timm_model`.
        **kwargs: Arguments of the class and of ``timm.create_model``.
    """
    out_indices = kwargs.pop("out_indices", (0, 1, 2, 3))
    feature_cfg = {"out_indices": out_indices, "feature_cls": "getter"}
    return build_timm_model(
        model_cls, variant, pretrained, pretrained_filter_fn=checkpoint_filter_fn, feature_cfg=feature_cfg, **kwargs
    )


def build_timm_model(model_cls: type[nn.Module], variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    """Call `timm.models.build_model_with_cfg`, but reject ``pretrained`` where there are no weights to load.

    Args:
        model_cls: Class of the model.
        variant: Name in timm's registry.
        pretrained: Load the weights named by ``pretrained_cfg`` or its overlay.
        **kwargs: Arguments of the class and of `timm.models.build_model_with_cfg`.

    Raises:
        UserError: ``pretrained`` is set, and neither ``pretrained_cfg`` nor its overlay names any weights.
    """
    if pretrained and not _has_source(variant, kwargs.get("pretrained_cfg"), kwargs.get("pretrained_cfg_overlay")):
        raise UserError(_explain_pretrained(variant))
    return build_model_with_cfg(model_cls, variant, pretrained, **kwargs)


def _has_source(variant: str, config: Any, overlay: dict[str, Any] | None) -> bool:
    """Whether a model's configuration names a source of weights."""
    if config is not None and not isinstance(config, str | dict):
        config = config.to_dict()
    resolved = resolve_pretrained_cfg(variant, config, overlay)
    return bool(resolved.has_weights or resolved.state_dict)


def _explain_pretrained(name: str) -> str:
    """Return the error message for ``pretrained=True`` where no weights are published."""
    if name.startswith("sgformer"):
        ways = "convert the authors' weights ('msgformer convert FILE OUTPUT') and give checkpoint_path=OUTPUT"
    elif name.startswith("msg_transformer"):
        ways = "start from a Swin ('msgformer init-from swin_tiny_patch4_window7_224 OUTPUT') or convert a checkpoint "
        ways += "of the authors ('msgformer convert') and give checkpoint_path=OUTPUT"
    else:
        ways = "give checkpoint_path=FILE"
    return f"pretrained: no weights of {name} are published; {ways}, or train with --init_from FILE"


def pretrained_cfg(**kwargs: Any) -> dict[str, Any]:
    """Return timm's configuration of a model for 224 x 224 that accepts any size and has no published weights.

    Args:
        **kwargs: Further entries, and replacements of the defaults.
    """
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "fixed_input_size": False,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "classifier": "head.fc",
        **kwargs,
    }

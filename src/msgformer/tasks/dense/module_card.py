"""Backbone names of detectors and segmenters that were built in Python."""

from __future__ import annotations

from typing import Any

from torch import nn


def backbone_name(module: nn.Module) -> str:
    """Return the name of the backbone in timm's registry, or of its class if it has none.

    Args:
        module: A detector or segmenter.
    """
    for part in module.modules():
        config: Any = getattr(part, "pretrained_cfg", None)
        if isinstance(config, dict) and config.get("architecture"):
            return str(config["architecture"])
    return type(module.get_submodule("backbone")).__name__

"""The card of a classifier that was built in Python."""

from __future__ import annotations

from typing import Any

from torch import nn

from msgformer.checkpoints.card import ModelCard
from msgformer.config.data_options import PreprocessOptions
from msgformer.data.preprocessing import Preprocessing


def describe_classifier(module: nn.Module) -> ModelCard | None:
    """Describe a classifier of this package or of timm.

    Args:
        module: Any module.

    Returns:
        A card whose classes are ``"0"``, ``"1"``, ... unless the module's configuration names them; None if the module
        has no configuration of timm's kind, or no classes.
    """
    config: Any = getattr(module, "pretrained_cfg", None)
    classes = getattr(module, "num_classes", 0)
    if not isinstance(config, dict) or not classes:
        return None
    channels, *size = _input_size(module, config)
    names = config.get("label_names") or []
    class_names = [str(name) for name in names] if len(names) == classes else [str(index) for index in range(classes)]
    preprocessing = Preprocessing.of(module, (size[0], size[1]), channels, PreprocessOptions())
    return ModelCard(str(config.get("architecture")), {}, class_names, preprocessing.to_dict())


def _input_size(module: Any, config: dict[str, Any]) -> tuple[int, int, int]:
    """Return channels, height and width of the module's inputs; those of its configuration if it has none itself."""
    channels, height, width = config.get("input_size", (3, 224, 224))
    size = getattr(module, "img_size", None) or (height, width)
    height, width = (size, size) if isinstance(size, int) else size
    return getattr(module, "in_chans", channels), height, width

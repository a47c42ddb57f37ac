"""The card of a segmenter that was built in Python."""

from __future__ import annotations

from dataclasses import asdict

from torch import nn

from msgformer.checkpoints.card import ModelCard
from msgformer.data.dense_options import SegmentImageOptions
from msgformer.dense import Segmenter
from msgformer.tasks.dense_module_card import backbone_name


def describe_segmenter(module: nn.Module) -> ModelCard | None:
    """Describe a segmenter of `msgformer.create_segmenter`.

    Args:
        module: Any module.

    Returns:
        A card whose classes are ``"0"``, ``"1"``, ...; None for another module.
    """
    if not isinstance(module, Segmenter):
        return None
    classes = [str(label) for label in range(module.num_classes)]
    return ModelCard(backbone_name(module), {}, classes, asdict(SegmentImageOptions()), task="segment")

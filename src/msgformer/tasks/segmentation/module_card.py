"""The card of a segmenter that was built in Python."""

from __future__ import annotations

from dataclasses import asdict

from torch import nn

from msgformer.checkpoints.card import ModelCard
from msgformer.config.dense_data_options import SegmentImageOptions
from msgformer.heads import Segmenter
from msgformer.tasks.dense.module_card import backbone_name


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

"""The card of a detector that was built in Python."""

from __future__ import annotations

from torch import nn

from msgformer.checkpoints.card import ModelCard
from msgformer.heads import RCNN, RetinaNet
from msgformer.tasks.dense.module_card import backbone_name


def describe_detector(module: nn.Module) -> ModelCard | None:
    """Describe a detector of `msgformer.create_detector`.

    Args:
        module: Any module.

    Returns:
        A card whose classes are ``"1"``, ``"2"``, ..., as the detector labels them; None for another module.
    """
    if not isinstance(module, RCNN | RetinaNet):
        return None
    classes = [str(label) for label in range(1, module.num_classes + 1)]
    return ModelCard(backbone_name(module), {}, classes, {}, task="detect")

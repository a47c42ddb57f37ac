"""Models in the form that graphs are captured of."""

from __future__ import annotations

import copy

from torch import nn

from msgformer.dense import RCNN, RetinaNet, Segmenter
from msgformer.deploy.graph_detector import GraphRCNN, GraphRetinaNet, found_names
from msgformer.deploy.graph_segmenter import GraphSegmenter


def output_names(model: nn.Module) -> tuple[str, ...]:
    """What the outputs of a model's graph are called, in order."""
    return found_names(model) if isinstance(model, RCNN | RetinaNet) else ("logits",)


def as_graph(model: nn.Module) -> nn.Module:
    """A model that takes one tensor, gives one or several, and does nothing that depends on what a picture shows.

    Args:
        model: In evaluation mode.

    Returns:
        A classifier itself; of a detector or a segmenter a copy in another form, which gives the same answers.
    """
    if isinstance(model, Segmenter):
        return GraphSegmenter(copy.deepcopy(model)).eval()
    if isinstance(model, RCNN):
        return GraphRCNN(copy.deepcopy(model)).eval()
    if isinstance(model, RetinaNet):
        return GraphRetinaNet(copy.deepcopy(model)).eval()
    return model

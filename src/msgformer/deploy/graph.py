"""Models in the form that graphs are captured of."""

from __future__ import annotations

import copy

from torch import nn

from msgformer.dense import Segmenter
from msgformer.deploy.graph_segmenter import GraphSegmenter


def as_graph(model: nn.Module) -> nn.Module:
    """A model in a form of which one graph serves all sizes.

    Args:
        model: In evaluation mode.

    Returns:
        A classifier itself; of a segmenter a copy in another form, which gives the same answers.
    """
    return GraphSegmenter(copy.deepcopy(model)).eval() if isinstance(model, Segmenter) else model

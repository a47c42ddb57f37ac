"""Export of detectors: the model without its own resizing, and its preprocessing."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from msgformer.data.detection.transforms import to_tensor
from msgformer.exporters.exported_detector import pad_to_size, resize_to_fit
from msgformer.exporters.graph.detector import GraphRCNN, GraphRetinaNet, output_names
from msgformer.heads import RCNN
from msgformer.tasks.export.source import ExportSource
from msgformer.tasks.opened_model import OpenedModel


def export_source(model: OpenedModel, size: tuple[int, int] | None) -> ExportSource:
    """Return a detector that takes normalized images of one size.

    Args:
        model: The detector.
        size: Height and width of the images; None for those of a wide image in evaluation.
    """
    module: Any = model.on_cpu()
    transform = module.transform
    height_width = size or img_size(model)
    return ExportSource(
        module,
        model.card,
        height_width,
        lambda image: pad_to_size(resize_to_fit(transform.normalize(to_tensor(image)), height_width), height_width),
        {**model.card.preprocessing, "min_size": transform.min_size[0] or None, "max_size": transform.max_size},
        mean=tuple(transform.image_mean),
        std=tuple(transform.image_std),
        outputs=output_names(module),
        run=model.run,
    )


def img_size(model: OpenedModel) -> tuple[int, int]:
    """Return the height and width in evaluation of a wide image, whose longer side reaches ``max_size``.

    Args:
        model: The detector, or its exported file.
    """
    if model.session is not None:
        shorter, longer = (model.card.preprocessing[key] for key in ("min_size", "max_size"))
    else:
        transform: Any = model.module.get_submodule("transform")
        shorter, longer = transform.min_size[0], transform.max_size
    return shorter or longer, longer


def as_graph(module: nn.Module) -> nn.Module:
    """Return a copy of a detector without loops over objects, which gives the same results."""
    form: type[nn.Module] = GraphRCNN if isinstance(module, RCNN) else GraphRetinaNet
    return form(copy.deepcopy(module)).eval()

"""Export of segmenters: the model and its preprocessing."""

from __future__ import annotations

from typing import Any

from msgformer.data.segmentation.transforms import SegmentEval
from msgformer.tasks.export.source import ExportSource
from msgformer.tasks.opened_model import OpenedModel
from msgformer.tasks.segmentation.predictor import image_options


def export_source(model: OpenedModel, size: tuple[int, int] | None) -> ExportSource:
    """Return a segmenter that takes normalized images.

    Args:
        model: The segmenter.
        size: Height and width of the images; None for those of a square image in evaluation.
    """
    module: Any = model.on_cpu()
    options = image_options(model)
    height_width = size or model.task.img_size(model)
    views = SegmentEval(options, module.mean, module.std)
    return ExportSource(
        module,
        model.card,
        height_width,
        lambda image: views.resize(image, height_width),
        model.card.preprocessing,
        mean=tuple(module.mean),
        std=tuple(module.std),
        run=model.run,
    )

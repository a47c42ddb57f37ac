"""Export of classifiers: the model and its preprocessing."""

from __future__ import annotations

from msgformer.data.preprocessing import Preprocessing, eval_transform
from msgformer.tasks.export.source import ExportSource
from msgformer.tasks.opened_model import OpenedModel


def export_source(model: OpenedModel, size: tuple[int, int] | None) -> ExportSource:
    """Return a classifier and its preprocessing for an export.

    Args:
        model: The classifier.
        size: Height and width of the images; None for those of training.
    """
    card, height_width = model.card, size or model.task.img_size(model)
    channels = int(card.preprocessing["input_size"][0])
    preprocessing = {**card.preprocessing, "input_size": [channels, *height_width]}
    transform = eval_transform(Preprocessing.from_dict(preprocessing))
    return ExportSource(model.on_cpu(), card, height_width, transform, preprocessing, channels, run=model.run)

"""Examples of what a detector or a segmenter says about validation images, beside what they really show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from msgformer.api.dense_predicting import found_objects
from msgformer.api.dense_results import DenseEvaluateResult, DensePrediction
from msgformer.api.dense_scoring import Looking, score_dense
from msgformer.api.dense_task import data_folder
from msgformer.api.device import to_device
from msgformer.data.dense_options import SegmentImageOptions
from msgformer.data.detect_transforms import to_tensor
from msgformer.data.detection_sets import open_detection_val
from msgformer.data.instances import InstanceSet
from msgformer.data.segment_transforms import SegmentEval
from msgformer.data.segmentation_sets import open_subset
from msgformer.insight.dense_sections import Example, dense_headline, dense_sections
from msgformer.insight.drawing import Mark, draw_classes, draw_objects
from msgformer.insight.page import Section, Tile
from msgformer.training.checkpoint import ModelCard, load_model
from msgformer.training.segment import mean_probabilities

EXAMPLES = 8
"""Images that a report shows, spread evenly over the validation set."""

THRESHOLD = 0.5
"""Score from which on a detector's objects are drawn."""


@dataclass(frozen=True)
class DenseScored:
    """A detector's or a segmenter's scores, and examples of its answers.

    Attributes:
        result: The scores.
        examples: Some images.
        parameters: Numbers that the model learned.
    """

    result: DenseEvaluateResult
    examples: list[Example]
    parameters: int

    @property
    def tiles(self) -> list[Tile]:
        """The numbers that count most."""
        return dense_headline(self.result.scores)

    @property
    def sections(self) -> list[Section]:
        """What a report says about them."""
        return dense_sections(self.result.scores, self.result.per_class, self.examples)


def score_with_examples(checkpoint: Path, data: str | None, looking: Looking) -> DenseScored:
    """Score a model and look at some of its answers.

    The arguments and errors are those of :func:`~msgformer.api.dense_scoring.score_dense`.
    """
    model, _ = load_model(checkpoint)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    examples = find_examples(checkpoint, data, looking)
    return DenseScored(score_dense(checkpoint, data, None, looking), examples, parameters)


def find_examples(checkpoint: Path, data: str | None, looking: Looking) -> list[Example]:
    """Some validation images, drawn with what they show and with what the model says."""
    model, card = load_model(checkpoint)
    folder = data_folder(card.task, data or card.data["path"])
    find = _objects if card.task == "detect" else _classes
    return find(model, card, folder, looking)


def _objects(model: Any, card: ModelCard, folder: Path, looking: Looking) -> list[Example]:
    source = open_detection_val(folder, card.classes)
    fabric, asked = to_device(model, looking.accelerator, looking.precision)
    examples = []
    for index in _spread(len(source)):
        picture = source.load(index)
        with torch.inference_mode():
            (found,) = asked([fabric.to_device(to_tensor(picture))])
        objects, marks = found_objects(found, card, THRESHOLD)
        words = DensePrediction(source.name(index), objects).words()
        truth = draw_objects(picture, _true_marks(source, index, with_masks=model.with_masks and source.has_masks))
        examples.append(Example(source.name(index), truth, draw_objects(picture, marks), words))
    return examples


def _true_marks(source: InstanceSet, index: int, *, with_masks: bool) -> list[Mark]:
    target = source.target(index, with_masks)
    masks = target["masks"].numpy().astype(bool) if with_masks else [None] * len(target["labels"])
    labels = (target["labels"] - 1).tolist()
    return [
        Mark(box, label, source.classes[label], mask)
        for box, label, mask in zip(target["boxes"].tolist(), labels, masks, strict=True)
    ]


def _classes(model: Any, card: ModelCard, folder: Path, looking: Looking) -> list[Example]:
    options = SegmentImageOptions(**card.preprocessing)
    source = open_subset(folder, "val", options.reduce_zero_label)
    transform = SegmentEval(options, model.mean, model.std)
    fabric, asked = to_device(model, looking.accelerator, looking.precision)
    examples = []
    for index in _spread(len(source)):
        picture, labels = source.load(index), source.labels(index)
        with torch.inference_mode():
            view = fabric.to_device(transform.image(picture))
            answer = mean_probabilities(asked, [view], labels.shape, flip=False).argmax(0).cpu().numpy()
        counted = labels != 255
        right = 100 * float((answer == labels)[counted].mean()) if counted.any() else 0.0
        drawn = draw_classes(picture, labels), draw_classes(picture, np.where(counted, answer, 255))
        examples.append(Example(source.name(index), *drawn, f"{right:.1f} % of the pixels are right"))
    return examples


def _spread(count: int) -> list[int]:
    return sorted({round(place) for place in np.linspace(0, count - 1, min(EXAMPLES, count))})

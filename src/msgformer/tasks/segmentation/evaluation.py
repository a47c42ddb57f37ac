"""Evaluation of a trained segmenter on images with label maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from msgformer.checkpoints.card import ModelCard
from msgformer.config.dense_data_options import LabelOptions
from msgformer.data.dense.samples import SegmentationSamples
from msgformer.data.loading.split import Subset
from msgformer.data.segmentation.label_maps import LabeledImages
from msgformer.data.segmentation.label_statistics import holds_binary_maps
from msgformer.data.segmentation.sets import open_subset
from msgformer.data.segmentation.transforms import SegmentViews
from msgformer.errors import UserError
from msgformer.tasks.base import Task
from msgformer.tasks.dense.data import chosen_subset, data_folder, example_indices, warn_of_training_images
from msgformer.tasks.dense.evaluation import DenseEvaluation, DenseLoader, data_name, nan_to_none
from msgformer.tasks.dense.report_sections import Example
from msgformer.tasks.evaluation import EvaluationOptions, require_data
from msgformer.tasks.opened_model import OpenedModel
from msgformer.tasks.prediction.predictor import InferenceConfig
from msgformer.tasks.segmentation.confusion import SegmentScores, mean_probabilities
from msgformer.tasks.segmentation.predictor import SegmentationPredictor, image_options
from msgformer.tasks.segmentation.scores import SegmentationEvaluateResult
from msgformer.visual.drawing import draw_classes

if TYPE_CHECKING:
    from PIL import Image


def evaluate_segmenter(
    model: OpenedModel, data: str | None, config: InferenceConfig, options: EvaluationOptions
) -> DenseEvaluation:
    """Score a trained segmenter.

    Args:
        model: The segmenter.
        data: Folder of images and label maps; None for those that the run validated on.
        config: Device, precision and batches.
        options: Test-time augmentation (``scales``, ``flip``), and whether to collect examples.

    Raises:
        UserError: The data can't be used, or its classes differ from the model's.
    """
    require_data(model, data)
    path = data or model.data["path"]
    folder = data_folder(model.task, path, moved=data is None)
    given = options.task_options
    scales, flip = given.get("scales") or [1.0], given.get("flip", False)
    predictor = SegmentationPredictor(model, config)
    subset = chosen_subset(options.split)
    source = _open_subset(model, folder, subset)
    if data is not None and subset != "train":
        warn_of_training_images(model, source)
    scores = SegmentScores(len(model.card.classes), shared=False)
    transform = predictor.eval_transform
    views = SegmentViews(image_options(model), transform.mean, transform.std, scales)
    value_range = predictor.value_range
    samples = SegmentationSamples(source, views, value_range=value_range)  # type: ignore[arg-type]  # several views
    name = data_name(path, options.split)
    loader = DenseLoader(samples, source, name, config, options.on_bad_image, subset)
    with torch.inference_mode():
        for images, labels, _ in loader:
            for image_views, classes in zip(images, labels, strict=True):
                probabilities = mean_probabilities(predictor.segment, image_views, classes.shape, flip=flip)  # type: ignore[arg-type, union-attr]
                scores.update(probabilities.cpu().clamp(min=1e-12).log()[None], classes[None])  # type: ignore[index]
    totals = scores.compute()
    assert scores.summary is not None
    if math.isnan(scores.summary.miou):
        raise UserError(f"data: no pixel of the label maps of {name} has a class, so that there is nothing to score")
    scored = zip(model.card.classes, scores.summary.per_class, strict=True)
    per_class = {name: nan_to_none({"iou": value}) for name, value in scored}
    result = SegmentationEvaluateResult(
        model.card.task,
        model.path or Path(model.card.model),
        name,
        len(source) - len(loader.skipped),
        {"scales": list(scales), "flip": flip},
        nan_to_none(totals),
        per_class,
        loader.skipped_images(),
    )
    load = partial(source.load, value_range=value_range)
    examples = _examples(predictor.segment, source, load, views, loader.skipped) if options.with_examples else []
    return DenseEvaluation(result, model.num_parameters, {}, examples)


def held_out_images(card: ModelCard, task: Task) -> tuple[int, Callable[[int], Image.Image]]:
    """Return the number of images that a run validated on, and a function that loads one.

    Args:
        card: The card of the run's model.
        task: Segmentation.

    Raises:
        UserError: The images don't exist any more.
    """
    labels = LabelOptions(card.preprocessing["reduce_zero_label"], card.preprocessing.get("label_map"))
    labeled = open_subset(data_folder(task, card.data["path"]), "val", labels)
    return len(labeled), partial(labeled.load, value_range=card.value_range)


def _open_subset(model: OpenedModel, folder: Path, subset: Subset) -> LabeledImages:
    source = open_subset(folder, subset, image_options(model))
    if list(source.classes) != model.card.classes:
        raise UserError(
            f"data: {folder} has other classes than the {len(model.card.classes)} that the segmenter was trained on;"
            " give data of the same classes"
        )
    if holds_binary_maps(source):
        raise UserError(
            f"data: the {subset} label maps of {folder} hold only 255, which means no class to this segmenter, and one"
            " other label; give label maps with its labels, or train with segment_images.label_map"
        )
    return source


def _examples(
    segment: Callable[..., Tensor],
    source: LabeledImages,
    load: Callable[[int], Image.Image],
    views: SegmentViews,
    skipped: Collection[int],
) -> Sequence[Example]:
    """Return some images, drawn with their label maps and with the model's predictions."""
    examples = []
    for index in example_indices(len(source), skipped):
        image, labels = load(index), source.labels(index)
        found = mean_probabilities(segment, [views.image(image)], labels.shape, flip=False).argmax(0).cpu().numpy()
        is_labeled = labels != source.ignored
        accuracy = 100 * float((found == labels)[is_labeled].mean()) if is_labeled.any() else 0.0
        masked = np.where(is_labeled, found, source.ignored)
        drawn = draw_classes(image, labels, source.ignored), draw_classes(image, masked, source.ignored)
        examples.append(Example(source.name(index), *drawn, f"{accuracy:.1f} % of the pixels are correct"))
    return examples

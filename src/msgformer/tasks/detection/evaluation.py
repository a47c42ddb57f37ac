"""Evaluation of a trained detector on annotated images."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgformer.checkpoints.card import ModelCard
from msgformer.data.dense.checks import check_object_counts, check_objects
from msgformer.data.dense.samples import DetectionSamples
from msgformer.data.detection.instances import InstanceSet
from msgformer.data.detection.transforms import detect_eval_transform, to_tensor
from msgformer.data.files.memory_inputs import DecodedInput
from msgformer.data.problems import raise_errors
from msgformer.tasks.base import Task
from msgformer.tasks.dense.data import example_indices, recorded_subset
from msgformer.tasks.dense.evaluation import DenseEvaluation, DenseLoader, nan_to_none
from msgformer.tasks.dense.report_sections import Example
from msgformer.tasks.detection.coco_scores import CocoGroundTruth, CocoScores
from msgformer.tasks.detection.evaluation_set import open_evaluation_set, reopen_subset
from msgformer.tasks.detection.ground_truth import coco_ground_truth
from msgformer.tasks.detection.predictor import DetectionPredictor, detection_limit
from msgformer.tasks.detection.scores import DetectionEvaluateResult
from msgformer.tasks.evaluation import EvaluationOptions, require_data
from msgformer.tasks.opened_model import OpenedModel
from msgformer.tasks.prediction.predictor import InferenceConfig, PreprocessedImage
from msgformer.visual.drawing import Mark, draw_objects

if TYPE_CHECKING:
    from PIL import Image

RESULTS = {"box": "bbox_results.json", "mask": "segm_results.json"}
"""Files of detections in COCO's results format, which its evaluation server takes."""


def evaluate_detector(
    model: OpenedModel, data: str | None, config: InferenceConfig, options: EvaluationOptions
) -> DenseEvaluation:
    """Score a trained detector by COCO's metrics.

    Args:
        model: The detector.
        data: Folder of annotated images; None for those that the run validated on.
        config: Device, precision and batches.
        options: Handling of unreadable images, and whether to collect examples.

    Raises:
        UserError: The data can't be used, or has a class that the model doesn't have.
    """
    require_data(model, data)
    predictor = DetectionPredictor(model, config, **options.task_options)
    has_masks = _has_masks(model)
    source, name = open_evaluation_set(model, data, options.split, with_masks=has_masks)
    raise_errors(check_objects({"val": source}))
    if has_masks and not source.has_masks:
        print("note: the data has boxes but no masks, so that only boxes are scored", file=sys.stderr, flush=True)
    kinds = ("box", "mask") if has_masks and source.has_masks else ("box",)
    own_limit, max_dets = detection_limit(model), predictor.max_dets
    _warn_of_many_objects(source, max_dets or own_limit)
    scores = CocoScores(kinds, shared=False, max_dets=max_dets, own_limit=None if max_dets is None else own_limit)
    scores.ground_truth = coco_ground_truth(source)
    samples = DetectionSamples(source, detect_eval_transform, with_masks=False, value_range=predictor.value_range)
    loader = DenseLoader(samples, source, name, config, options.on_bad_image, recorded_subset(options.split))
    for images, _, positions in loader:
        scores.update(predictor.detect(images), positions.tolist())
    scores.ground_truth = _without(scores.ground_truth, loader.skipped)
    metrics = scores.compute()
    per_class = {
        title: nan_to_none({f"{kind}_ap": summary.per_class[title] for kind, summary in scores.summaries.items()})
        for title in model.card.classes
    }
    result = DetectionEvaluateResult(
        model.card.task,
        model.path or Path(model.card.model),
        name,
        len(source) - len(loader.skipped),
        {},
        nan_to_none(metrics),
        per_class,
        loader.skipped_images(),
    )
    detections = {RESULTS[kind]: _of_kind(scores.last_results, kind) for kind in kinds}
    examples = _examples(predictor, source, loader.skipped) if options.with_examples else []
    return DenseEvaluation(result, model.num_parameters, detections, examples)


def held_out_images(card: ModelCard, task: Task, run: Path) -> tuple[int, Callable[[int], Image.Image]]:
    """Return the number of images that a run validated on, and a function that loads one.

    Args:
        card: The card of the run's model.
        task: Detection.
        run: The run folder.

    Raises:
        UserError: The images don't exist any more.
    """
    instances = reopen_subset(card, task, run, "val")
    return len(instances), partial(instances.load, value_range=card.value_range)


def _has_masks(model: OpenedModel) -> bool:
    if model.session is not None:
        return "masks" in model.session.card.outputs
    module: Any = model.module
    with_masks: bool = module.with_masks
    return with_masks


def _warn_of_many_objects(source: InstanceSet, limit: int) -> None:
    problem = check_object_counts(source, limit, "score it with --max_dets {count}")
    if problem is not None:
        print(f"warning: {problem.path}: {problem.message}", file=sys.stderr, flush=True)


def _without(ground_truth: CocoGroundTruth, positions: Collection[int]) -> CocoGroundTruth:
    """Return the ground truth without the images at some positions."""
    ids = {ground_truth.image_ids[position] for position in positions}
    if not ids:
        return ground_truth
    content = dict(ground_truth.content)
    content["images"] = [one for one in content["images"] if one["id"] not in ids]
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] not in ids]
    return replace(ground_truth, content=content)


def _of_kind(results: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return detections with only the fields of COCO's results format for boxes or for masks."""
    left_out = {"box": "segmentation", "mask": "bbox"}[kind]
    own = ("image_id", "category_id", "bbox", "segmentation", "score")
    return [{key: one[key] for key in own if key in one and key != left_out} for one in results]


def _examples(predictor: DetectionPredictor, source: InstanceSet, skipped: Collection[int]) -> list[Example]:
    """Return some images, drawn with their annotations and with the predictions."""
    examples = []
    for index in example_indices(len(source), skipped):
        image, name = source.load(index, predictor.value_range), source.name(index)
        prepared = PreprocessedImage(DecodedInput(name, image), (image.height, image.width))
        (found,) = predictor.run([to_tensor(image)], [prepared])
        with_masks = found.rles is not None and source.has_masks
        annotated = draw_objects(image, _annotation_marks(source, index, with_masks=with_masks))
        examples.append(Example(name, annotated, found.draw(image), found.to_record().summary()))
    return examples


def _annotation_marks(source: InstanceSet, index: int, *, with_masks: bool) -> list[Mark]:
    target = source.target(index, with_masks)
    masks = target["masks"].numpy().view(bool) if with_masks else [None] * len(target["labels"])
    labels = (target["labels"] - 1).tolist()
    return [
        Mark(box, label, source.classes[label], mask)
        for box, label, mask in zip(target["boxes"].tolist(), labels, masks, strict=True)
    ]

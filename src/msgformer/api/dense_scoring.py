"""Trained detectors and segmenters put to work on annotated images, for their scores."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from msgformer.api.dense_results import DenseEvaluateResult
from msgformer.api.dense_task import data_folder
from msgformer.api.detect_task import truth_of
from msgformer.api.device import to_device
from msgformer.api.exported import open_model
from msgformer.api.following import followed
from msgformer.data.dense_options import SegmentImageOptions
from msgformer.data.dense_samples import DetectionSamples, SegmentationSamples, collate
from msgformer.data.detect_transforms import detect_eval_transform
from msgformer.data.detection_sets import open_detection_val
from msgformer.data.module import default_workers, make_loader
from msgformer.data.sampling import EpochSampler
from msgformer.data.segment_transforms import SegmentViews
from msgformer.data.segmentation_sets import open_subset
from msgformer.errors import UserError
from msgformer.training.checkpoint import ModelCard
from msgformer.training.coco_scores import CocoScores
from msgformer.training.detect import score_kinds
from msgformer.training.options import Precision, Progress
from msgformer.training.segment import mean_probabilities
from msgformer.training.segment_scores import SegmentScores

METRICS, CLASSES = "metrics.json", "per_class.csv"
RESULTS = {"box": "bbox_results.json", "mask": "segm_results.json"}
"""Files of detections in COCO's results format, as its evaluation server takes them."""


@dataclass(frozen=True)
class Looking:
    """How images are read and looked at.

    Attributes:
        batch_size: Images a batch.
        workers: Processes that read images; None: one less than there are cores.
        accelerator: As Lightning names it.
        precision: Likewise.
        progress: How it is shown.
        scales: Sizes, in parts of that of evaluation, at which a segmenter looks at each image.
        flip: Have a segmenter look at mirror images as well.
    """

    batch_size: int
    workers: int | None
    accelerator: str
    precision: Precision
    progress: Progress
    scales: Sequence[float] = (1.0,)
    flip: bool = False


def score_dense(checkpoint: Path, data: str | None, output: Path | None, looking: Looking) -> DenseEvaluateResult:
    """Score a detector or a segmenter.

    Args:
        checkpoint: Its weights.
        data: Folder of annotated images; None for what the run validated on.
        output: New folder to write numbers and detections to, if any.
        looking: How images are read and looked at.

    Raises:
        UserError: the data can't be used, or the classes aren't the model's.
    """
    model, card = open_model(checkpoint, looking.accelerator, looking.precision)
    if data is None and not card.data:
        raise UserError(f"{checkpoint} doesn't lie in the folder of its run; give --data FOLDER")
    path = data or card.data["path"]
    folder = data_folder(card.task, path)
    score = _score_detector if card.task == "detect" else _score_segmenter
    images, scores, per_class, results = score(model, card, folder, looking)
    views: dict[str, Any] = {} if card.task == "detect" else {"scales": list(looking.scales), "flip": looking.flip}
    result = DenseEvaluateResult(
        card.task,
        checkpoint,
        path or "the embedded scenes",
        images,
        views,
        {name: _known(value) for name, value in scores.items()},
        {name: {key: _known(value) for key, value in one.items()} for name, one in per_class.items()},
    )
    if output is not None:
        _write(output, result, results)
    return result


Scored = tuple[int, dict[str, float], dict[str, dict[str, float]], dict[str, list[dict[str, Any]]]]
"""How many images, numbers by name, numbers by class, and detections by file name."""


def _score_detector(model: Any, card: ModelCard, folder: Path, looking: Looking) -> Scored:
    source = open_detection_val(folder, card.classes)
    kinds = score_kinds(model)
    if "mask" in kinds and not source.has_masks:
        raise UserError(f"{folder} has boxes but no masks to score those of the detector on")
    scores = CocoScores(kinds, shared=False)
    scores.truth = truth_of(source)
    samples = DetectionSamples(source, detect_eval_transform, with_masks=False)
    fabric, model = to_device(model, looking.accelerator, looking.precision)
    with torch.inference_mode():
        for images, _, positions in _batches(samples, looking):
            scores.update(model(fabric.to_device(images)), positions.tolist())
    numbers = scores.compute()
    per_class = {
        name: {f"{kind}_ap": summary.per_class[name] for kind, summary in scores.summaries.items()}
        for name in card.classes
    }
    return len(source), numbers, per_class, {RESULTS[kind]: _of_kind(scores.last_results, kind) for kind in kinds}


def _of_kind(results: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The fields of detections that COCO's server wants for boxes or for masks."""
    left_out = {"box": "segmentation", "mask": "bbox"}[kind]
    # The evaluation adds fields of its own.
    own = ("image_id", "category_id", "bbox", "segmentation", "score")
    return [{key: one[key] for key in own if key in one and key != left_out} for one in results]


def _score_segmenter(model: Any, card: ModelCard, folder: Path, looking: Looking) -> Scored:
    options = SegmentImageOptions(**card.preprocessing)
    source = open_subset(folder, "val", options.reduce_zero_label)
    if list(source.classes) != card.classes:
        raise UserError(f"{folder} has other classes than the {len(card.classes)} that the segmenter was trained on")
    scores = SegmentScores(len(card.classes), shared=False)
    views = SegmentViews(options, model.mean, model.std, looking.scales)
    samples = SegmentationSamples(source, views)  # type: ignore[arg-type]  # several views instead of one image
    fabric, model = to_device(model, looking.accelerator, looking.precision)
    with torch.inference_mode():
        for images, labels, _ in _batches(samples, looking):
            for seen, classes in zip(images, labels, strict=True):
                chances = mean_probabilities(model, fabric.to_device(seen), classes.shape, flip=looking.flip)
                scores.update(chances.cpu().clamp(min=1e-12).log()[None], classes[None])
    numbers = scores.compute()
    assert scores.summary is not None
    per_class = {name: {"iou": value} for name, value in zip(card.classes, scores.summary.per_class, strict=True)}
    return len(source), numbers, per_class, {}


def _batches(samples: Any, looking: Looking) -> Any:
    workers = default_workers() if looking.workers is None else looking.workers
    sampler = EpochSampler(len(samples), 0, shuffle=False)
    loader = make_loader(samples, sampler, looking.batch_size, workers, collate=collate)
    return followed(loader, lambda batch: len(batch.images), looking.progress, "scoring", len(samples))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _write(folder: Path, result: DenseEvaluateResult, results: dict[str, list[dict[str, Any]]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / METRICS).write_text(f"{result.render(as_json=True)}\n", encoding="utf-8")
    with (folder / CLASSES).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", *next(iter(result.per_class.values()))])
        writer.writerows([name, *scores.values()] for name, scores in result.per_class.items())
    for name, detections in results.items():
        (folder / name).write_text(json.dumps(detections), encoding="utf-8")

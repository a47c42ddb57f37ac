"""COCO's twelve metrics for boxes and for masks."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from msgformer.heads.detection.detections import encode_found_masks
from msgformer.utils.rle import compress

Result = dict[str, Any]
"""One detection in COCO's results format: ``image_id``, ``category_id``, ``bbox``, ``score``, ``segmentation``."""

METRICS = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
"""Names of COCO's metrics, in COCO's order: average precision over IoU 0.50:0.95, at 0.5, at 0.75 and by object size;
average recall with 1, 10 and 100 detections per image, and by object size."""

KINDS = {"box": "bbox", "mask": "segm"}
"""COCO's names of the evaluated geometries."""


@dataclass(frozen=True)
class CocoGroundTruth:
    """Ground truth of a validation set.

    Attributes:
        content: ``images``, ``annotations`` and ``categories`` as in COCO's files, with masks in compressed RLE.
        image_ids: ID per image, in the order of the data set.
        category_ids: Category ID per class, in the order of the labels from 1.
    """

    content: dict[str, Any]
    image_ids: Sequence[int]
    category_ids: Sequence[int]

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the labels from 1."""
        names = {one["id"]: one["name"] for one in self.content["categories"]}
        return [names[number] for number in self.category_ids]

    def results(self, detections: Mapping[str, Tensor], position: int) -> list[Result]:
        """Convert a detector's output for one image to COCO's results format, with boxes rounded to 0.01 pixels.

        Args:
            detections: ``boxes`` [D, 4], ``labels`` [D] from 1, ``scores`` [D] and, from some heads, ``masks``
                [D, H, W] or those of `unpasted_masks`.
            position: Index of the image in the data set.
        """
        rles = None
        if "masks" in detections:
            image = self.content["images"][position]
            rles = encode_found_masks(detections, (image["height"], image["width"]))
        boxes, labels, scores = (detections[name].cpu().numpy() for name in ("boxes", "labels", "scores"))
        return to_results(self.image_ids[position], self.category_ids, boxes, labels - 1, scores, rles)


def to_results(
    image_id: int,
    category_ids: Sequence[int],
    boxes: np.ndarray,
    class_ids: np.ndarray,
    scores: np.ndarray,
    rles: Sequence[dict[str, Any]] | None,
) -> list[Result]:
    """Convert the detections of an image to COCO's results format, with boxes rounded to 0.01 pixels.

    Args:
        image_id: Id of the image.
        category_ids: Category id per class.
        boxes: ``x1 y1 x2 y2`` in pixels, [D, 4].
        class_ids: Classes from 0, [D].
        scores: Probabilities [D].
        rles: Masks in compressed RLE; None for none.
    """
    low, high = np.split(boxes.astype(np.float64), 2, axis=1)
    sides = np.concatenate([low, high - low], axis=1).tolist()
    found = [
        {
            "image_id": image_id,
            "category_id": category_ids[label],
            "bbox": [round(x, 2) for x in box],
            "score": score,
        }
        for box, label, score in zip(sides, class_ids.tolist(), scores.tolist(), strict=True)
    ]
    return found if rles is None else [{**one, "segmentation": rle} for one, rle in zip(found, rles, strict=True)]


@dataclass(frozen=True)
class CocoSummary:
    """Results of COCO's evaluation in percent; NaN where there are no objects.

    Attributes:
        metrics: COCO's twelve metrics, by the names in `METRICS`.
        per_class: Average precision over IoU 0.50:0.95 per class.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    per_class: dict[str, float] = field(default_factory=dict)


def summarize(ground_truth: CocoGroundTruth, results: Sequence[Result], kind: str) -> CocoSummary:
    """Compute COCO's metrics over all images.

    Args:
        ground_truth: Annotations of the images; detections in crowds are ignored, and for masks also those in the box
            of an object without a mask.
        results: All detections.
        kind: "box" or "mask".
    """
    evaluation = _evaluation(ground_truth, results, kind)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.run()
    metrics = [_to_percent(float(value)) for value in evaluation.all_stats[: len(METRICS)]]
    # [IoU thresholds, recall thresholds, classes, sizes (all sizes first), max. detections (100 last)]
    precision = torch.as_tensor(evaluation.eval["precision"])[:, :, :, 0, -1]
    by_id = dict(zip(evaluation.params.catIds, precision.unbind(2), strict=True))
    values = [_to_percent(_mean(by_id[number])) for number in ground_truth.category_ids]
    return CocoSummary(dict(zip(METRICS, metrics, strict=True)), dict(zip(ground_truth.classes, values, strict=True)))


def summarize_with_limit(
    ground_truth: CocoGroundTruth, results: Sequence[Result], kind: str, max_dets: int
) -> dict[str, float]:
    """Compute average precision and recall with another limit than COCO's 100 detections per image and class.

    Args:
        ground_truth: As for `summarize`.
        results: All detections.
        kind: "box" or "mask".
        max_dets: Maximum number of detections per image and class.

    Returns:
        Percentages by name, such as ``ap_300``, ``ap50_300``, ``ap75_300`` and ``ar_300`` for a limit of 300.
    """
    evaluation = _evaluation(ground_truth, results, kind)
    evaluation.params.maxDets = [max_dets]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    precision = torch.as_tensor(evaluation.eval["precision"])[:, :, :, 0, -1]
    recall = torch.as_tensor(evaluation.eval["recall"])[:, :, 0, -1]
    thresholds = torch.as_tensor(evaluation.params.iouThrs)
    at = {f"ap{percent}": precision[(thresholds - percent / 100).abs().argmin()] for percent in (50, 75)}
    values = {"ap": precision, **at, "ar": recall}
    return {f"{name}_{max_dets}": _to_percent(_mean(value)) for name, value in values.items()}


def _evaluation(ground_truth: CocoGroundTruth, results: Sequence[Result], kind: str) -> Any:
    """Return COCO's evaluation, which wasn't run yet."""
    from faster_coco_eval import COCO, COCOeval_faster

    if kind == "mask":  # without boxes, COCO takes the size of a detection from its mask
        found = [{key: value for key, value in one.items() if key != "bbox"} for one in results]
    else:
        found = [{key: value for key, value in one.items() if key != "segmentation"} for one in results]
    with contextlib.redirect_stdout(io.StringIO()):  # COCO's evaluation prints its progress
        annotations = COCO(_with_masks(ground_truth.content) if kind == "mask" else ground_truth.content)
        return COCOeval_faster(annotations, annotations.loadRes(found), KINDS[kind])


class CocoScores(nn.Module):
    """Collects detections and evaluates them by COCO's metrics.

    Args:
        kinds: "box" and, for detectors with masks, "mask".
        shared: Whether to gather the detections of all processes of a training.
        max_dets: Limit of a further evaluation, beside COCO's metrics with 100 detections per image and class.
        own_limit: Number of detections per image in COCO's metrics, the most probable ones; all by default. It keeps
            these metrics as they are where a detector's limit is raised to ``max_dets``.

    Attributes:
        ground_truth: Annotations of the images; must be set before the first update.
        results: Detections of this process since the last call of `compute`.
        summaries: Results of the last call of `compute`, by kind.
        last_results: Detections of the last call of `compute`.
    """

    def __init__(
        self, kinds: Sequence[str], *, shared: bool = True, max_dets: int | None = None, own_limit: int | None = None
    ) -> None:
        super().__init__()
        self.max_dets, self.own_limit = max_dets, own_limit
        self.kinds = tuple(kinds)
        self.shared = shared
        self.ground_truth: CocoGroundTruth | None = None
        self.results: list[Result] = []
        self.last_results: list[Result] = []
        self.summaries: dict[str, CocoSummary] = {}

    def update(self, detections: Sequence[Mapping[str, Tensor]], positions: Sequence[int]) -> None:
        """Add a batch.

        Args:
            detections: A detector's output per image, as for `CocoGroundTruth.results`.
            positions: Indices of the images in the data set.
        """
        assert self.ground_truth is not None
        for found, position in zip(detections, positions, strict=True):
            self.results += self.ground_truth.results(found, position)

    def compute(self) -> dict[str, float]:
        """Return the metrics since the last call in percent, ``box_ap``, ``mask_ap`` and so on, and reset them."""
        assert self.ground_truth is not None
        found = _gather(self.results) if self.shared else self.results
        # Sorted, so that the order is independent of the number of processes.
        self.last_results, self.results = sorted(found, key=lambda one: one["image_id"]), []
        usual = _first_per_image(self.last_results, self.own_limit)
        self.summaries = {kind: summarize(self.ground_truth, usual, kind) for kind in self.kinds}
        metrics = {kind: summary.metrics for kind, summary in self.summaries.items()}
        if self.max_dets is not None:
            for kind, values in metrics.items():
                more = summarize_with_limit(self.ground_truth, self.last_results, kind, self.max_dets)
                metrics[kind] = {**values, **more}
        return {f"{kind}_{name}": value for kind, values in metrics.items() for name, value in values.items()}


def _with_masks(content: dict[str, Any]) -> dict[str, Any]:
    """Return ground truth in which objects without a mask are crowds over their boxes.

    A right mask can't be told from a wrong one there, so that detections there count as neither.
    """
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}

    def complete(one: dict[str, Any]) -> dict[str, Any]:
        if "segmentation" in one:
            return one
        x, y, width, height = one["bbox"]
        corners = [x, y, x + width, y, x + width, y + height, x, y + height]
        return {**one, "iscrowd": 1, "segmentation": compress([corners], *sizes[one["image_id"]])}

    return {**content, "annotations": [complete(one) for one in content["annotations"]]}


def _first_per_image(results: Sequence[Result], limit: int | None) -> list[Result]:
    """Return the first detections of each image; those of an image follow each other, the most probable first."""
    by_image = groupby(results, key=lambda one: one["image_id"])
    return [one for _, found in by_image for one in islice(found, limit)]


def _gather(results: list[Result]) -> list[Result]:
    """Return the results of all processes."""
    if torch.distributed.is_initialized():
        shares: list[list[Result] | None] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(shares, results)
        results = [one for share in shares for one in share or []]
    return results


def _mean(precision: Tensor) -> float:
    counted = precision[precision > -1]
    return counted.mean().item() if len(counted) else -1.0


def _to_percent(value: float) -> float:
    return math.nan if value < 0 else 100 * value

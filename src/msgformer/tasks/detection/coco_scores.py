"""COCO's twelve numbers for boxes and for masks, and what they are made of."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from msgformer.utils.rle import encode_masks

Result = dict[str, Any]
"""One detection in COCO's results format: ``image_id``, ``category_id``, ``bbox``, ``score``, ``segmentation``."""

NUMBERS = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
"""COCO's summary in its order: average precision over IoU 0.50:0.95, at 0.5, at 0.75 and by the objects' size; average
recall with 1, 10 and 100 detections an image, and by size."""

KINDS = {"box": "bbox", "mask": "segm"}
"""Ours and COCO's names of what is compared."""


@dataclass(frozen=True)
class CocoTruth:
    """What a validation set really shows.

    Attributes:
        content: ``images``, ``annotations`` and ``categories`` as in COCO's files, masks in compressed RLE.
        image_ids: Of each image, by its position in the data set.
        category_ids: Of each class, the one of label 1 first.
    """

    content: dict[str, Any]
    image_ids: Sequence[int]
    category_ids: Sequence[int]

    @property
    def classes(self) -> list[str]:
        """Names of the classes, the one of label 1 first."""
        names = {one["id"]: one["name"] for one in self.content["categories"]}
        return [names[number] for number in self.category_ids]

    def results(self, detections: Mapping[str, Tensor], position: int) -> list[Result]:
        """A detector's output for the image at ``position``, in COCO's results format; boxes to a hundredth pixel.

        Args:
            detections: ``boxes`` [D, 4], ``labels`` [D] from 1 on, ``scores`` [D] and perhaps ``masks`` [D, H, W].
            position: Of the image in the data set.
        """
        low, high = detections["boxes"].double().cpu().split(2, dim=1)
        boxes = torch.cat([low, high - low], dim=1).tolist()
        found = [
            {
                "image_id": self.image_ids[position],
                "category_id": self.category_ids[label - 1],
                "bbox": [round(x, 2) for x in box],
                "score": score,
            }
            for box, label, score in zip(
                boxes, detections["labels"].tolist(), detections["scores"].tolist(), strict=True
            )
        ]
        if "masks" in detections:
            rles = encode_masks(detections["masks"].cpu().numpy()) if found else []
            found = [{**one, "segmentation": rle} for one, rle in zip(found, rles, strict=True)]
        return found


@dataclass(frozen=True)
class CocoSummary:
    """What COCO's evaluation says; everything in per cent, NaN where no object is of the kind.

    Attributes:
        numbers: COCO's twelve, by the names in ``NUMBERS``.
        per_class: AP over IoU 0.50:0.95 of each class.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    per_class: dict[str, float] = field(default_factory=dict)


def summarize(truth: CocoTruth, results: Sequence[Result], kind: str) -> CocoSummary:
    """COCO's numbers for all images of ``truth``.

    Args:
        truth: What the images show; crowds count neither way.
        results: All detections.
        kind: "box" or "mask".
    """
    from faster_coco_eval import COCO, COCOeval_faster

    if kind == "mask":  # so that the sizes of the detections are those of their masks
        found = [{key: value for key, value in one.items() if key != "bbox"} for one in results]
    else:
        found = [{key: value for key, value in one.items() if key != "segmentation"} for one in results]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        ground_truth = COCO(truth.content)
        evaluation = COCOeval_faster(ground_truth, ground_truth.loadRes(found), KINDS[kind])
        evaluation.run()
    numbers = [_per_cent(float(value)) for value in evaluation.all_stats[: len(NUMBERS)]]
    # [IoU thresholds, recall thresholds, classes, sizes (all first), numbers of detections (100 last)]
    precision = torch.as_tensor(evaluation.eval["precision"])[:, :, :, 0, -1]
    by_id = dict(zip(evaluation.params.catIds, precision.unbind(2), strict=True))
    values = [_per_cent(_mean(by_id[number])) for number in truth.category_ids]
    return CocoSummary(dict(zip(NUMBERS, numbers, strict=True)), dict(zip(truth.classes, values, strict=True)))


class CocoScores(nn.Module):
    """Collects detections and compares them with the truth.

    Args:
        kinds: "box", and perhaps "mask".
        shared: Collect over all processes of a training; otherwise this one's answers are all there are.

    Attributes:
        truth: What the images show; to be set before the first update.
        results: This process's detections since the last call of :meth:`compute`.
        summaries: By "box" and perhaps "mask", what the last call came to.
        last_results: The detections that it was about.
    """

    def __init__(self, kinds: Sequence[str], *, shared: bool = True) -> None:
        super().__init__()
        self.kinds = tuple(kinds)
        self.shared = shared
        self.truth: CocoTruth | None = None
        self.results: list[Result] = []
        self.last_results: list[Result] = []
        self.summaries: dict[str, CocoSummary] = {}

    def update(self, detections: Sequence[Mapping[str, Tensor]], positions: Sequence[int]) -> None:
        """Count a batch: a detector's output, and which images it is for."""
        assert self.truth is not None
        for found, position in zip(detections, positions, strict=True):
            self.results += self.truth.results(found, position)

    def compute(self) -> dict[str, float]:
        """``box_ap`` and the other numbers, and ``mask_ap`` likewise, in per cent."""
        assert self.truth is not None
        found = _gather(self.results) if self.shared else self.results
        # In the images' order, whatever the number of processes.
        self.last_results, self.results = sorted(found, key=lambda one: one["image_id"]), []
        self.summaries = {kind: summarize(self.truth, self.last_results, kind) for kind in self.kinds}
        return {
            f"{kind}_{name}": value
            for kind, summary in self.summaries.items()
            for name, value in summary.numbers.items()
        }


def _gather(results: list[Result]) -> list[Result]:
    """The results of all processes."""
    if torch.distributed.is_initialized():
        shares: list[list[Result] | None] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(shares, results)
        results = [one for share in shares for one in share or []]
    return results


def _mean(precision: Tensor) -> float:
    counted = precision[precision > -1]
    return counted.mean().item() if len(counted) else -1.0


def _per_cent(value: float) -> float:
    return math.nan if value < 0 else 100 * value

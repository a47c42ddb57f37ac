"""A file of detections in COCO's results format, which its evaluation server takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgformer.data.detection.image_list import ImageList, number_images
from msgformer.data.detection.sets import open_detection_val
from msgformer.errors import UserError
from msgformer.tasks.detection.coco_scores import to_results
from msgformer.tasks.detection.result import DetectionResult
from msgformer.tasks.opened_model import OpenedModel

RESULTS_THRESHOLD = 0.0
"""Default of the lowest score in a results file: average precision counts all detections."""


class ResultsFile:
    """Collects detections in COCO's results format.

    Args:
        path: The file.
        category_ids: Category id per class of the model.
        images: The images with their ids; None numbers the images by their names or positions.
    """

    def __init__(self, path: Path, category_ids: Sequence[int], images: ImageList | None) -> None:
        self.path, self.category_ids, self.images = path, category_ids, images
        self._found: list[DetectionResult] = []

    def collect(self, batches: Iterable[list[DetectionResult]]) -> Iterator[list[DetectionResult]]:
        """Yield batches of results in the order of the images, and collect their detections.

        Args:
            batches: The results.
        """
        for batch in batches:
            self._found += [one.without_pixels() for one in batch]
            yield batch

    def write(self) -> None:
        """Write the file."""
        ids = number_images([one.image for one in self._found]) if self.images is None else self.images.ids
        if self.images is None:
            how = "by their names" if ids != list(range(1, len(ids) + 1)) else "from 1 in their order"
            print(f"note: {self.path}: the images are numbered {how}", file=sys.stderr, flush=True)
        lines = [
            result
            for number, one in zip(ids, self._found, strict=True)
            for result in to_results(number, self.category_ids, one.boxes, one.class_ids, one.scores, one.rles)
        ]
        self.path.write_text(json.dumps(lines), encoding="utf-8")


def category_ids(model: OpenedModel, images: ImageList | None) -> list[int]:
    """Return the category id per class of a model: those of its training data, or else those of a list of images.

    Args:
        model: The model.
        images: The list that is predicted, if any.

    Raises:
        UserError: Neither has them, or they differ.
    """
    classes = model.card.classes
    listed = {} if images is None else images.categories
    recorded = _recorded_ids(model)
    if recorded is None and all(name in listed for name in classes):
        return [listed[name] for name in classes]
    if recorded is None:
        raise UserError(
            f"results: the category ids of {model.name} are unknown, since its training data is gone and the images"
            " have no 'categories' with its classes; give a JSON file with them"
        )
    for name, number in zip(classes, recorded, strict=True):
        if listed.get(name, number) != number:
            raise UserError(
                f"results: class {name!r} has category id {number} in the training data, but {listed[name]} in the JSON"
                " file of the images; correct its categories"
            )
    return recorded


def _recorded_ids(model: OpenedModel) -> list[int] | None:
    """Return the category ids of the training data, from the model's card or else from the data."""
    stored: Any = model.card.data.get("category_ids")
    if stored is not None:
        return [int(one) for one in stored]
    if "path" not in model.card.data:
        return None
    place = model.card.data["path"] or model.task.bundled_scenes()
    try:
        return list(open_detection_val(place, model.card.classes, with_masks=False).category_ids)
    except UserError:
        return None

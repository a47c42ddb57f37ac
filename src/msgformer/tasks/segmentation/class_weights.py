"""Weights of the classes in a segmenter's loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from msgformer.data.problems import FULL_CHECK_LIMIT
from msgformer.data.segmentation.label_maps import LabeledImages
from msgformer.errors import UserError


def resolve_class_weights(given: Any, train: LabeledImages) -> list[float] | None:
    """Return the weight of each class, or None for equal weights.

    Args:
        given: The option ``segment.class_weights``.
        train: The training images.

    Raises:
        UserError: The weights don't fit the classes.
    """
    if given is None:
        return None
    if isinstance(given, str):
        return balanced_weights(count_pixels(train))
    if isinstance(given, Mapping):
        if unknown := next((name for name in given if name not in train.classes), None):
            raise UserError(f"segment.class_weights: no class {unknown!r}; the classes are {', '.join(train.classes)}")
        given = [given.get(name, 1.0) for name in train.classes]
    weights = [float(weight) for weight in given]
    if len(weights) != len(train.classes):
        raise UserError(
            f"segment.class_weights has {len(weights)} numbers for {len(train.classes)} classes; give one per class, or"
            " a mapping by name"
        )
    if any(weight < 0 or not math.isfinite(weight) for weight in weights) or not any(weights):
        raise UserError(f"segment.class_weights must be at least 0, and not all 0, not {weights}")
    return weights


def count_pixels(images: LabeledImages) -> np.ndarray:
    """Return the number of pixels of each class, int64 [K], in up to 5,000 evenly spread label maps."""
    num_classes, count = len(images.classes), len(images)
    indices = sorted({place * count // FULL_CHECK_LIMIT for place in range(FULL_CHECK_LIMIT)})

    def count_one(index: int) -> np.ndarray:
        labels = images.labels(index)
        return np.bincount(labels[labels != images.ignored], minlength=num_classes)

    with ThreadPoolExecutor() as pool:
        pixels: np.ndarray = np.stack([*pool.map(count_one, indices)]).sum(axis=0)
    return pixels


def balanced_weights(pixels: np.ndarray) -> list[float]:
    """Return weights in proportion to the inverse frequency of the classes; their mean over all pixels is 1.

    Args:
        pixels: Number of pixels of each class [K]; a class without pixels has the weight 1.
    """
    present = pixels > 0
    weights = np.ones(len(pixels))
    weights[present] = pixels.sum() / (present.sum() * pixels[present])
    return [float(weight) for weight in weights]

"""Class balancing: a sampling order and loss weights for classes of different sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def balanced_order(labels: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    """Draw as many images as there are, in random order, the same number from each class.

    The images of a class are drawn without replacement until all of them have been drawn, then again. A class with
    more images than its share loses some.

    Args:
        labels: Class of each image.
        generator: Random generator.

    Returns:
        Indices of the images [N].
    """
    import numpy as np

    every = np.asarray(labels)
    present = np.unique(every)
    shares = np.full(len(present), len(every) // len(present))
    shares[generator.permutation(len(present))[: len(every) % len(present)]] += 1
    drawn = []
    for label, share in zip(present, shares, strict=True):
        members = np.flatnonzero(every == label)
        rounds = [generator.permutation(members) for _ in range(-(-share // len(members)))]
        drawn.append(np.concatenate(rounds)[:share])
    return generator.permutation(np.concatenate(drawn))


def rarest_classes(images: Sequence[Collection[int]]) -> list[int]:
    """Return the class of each image that the fewest images show; -1 for an image without classes.

    Args:
        images: Classes in each image.
    """
    counts = Counter(label for labels in images for label in set(labels))
    return [min(set(labels), key=lambda label: (counts[label], label), default=-1) for labels in images]


def class_weights(labels: Sequence[int], num_classes: int) -> list[float]:
    """Return one loss weight per class, inversely proportional to its number of images.

    The mean of the weights over all images is 1. A class without images has weight 0.

    Args:
        labels: Class of each image.
        num_classes: Number of classes.
    """
    import numpy as np

    counts = np.bincount(np.asarray(labels), minlength=num_classes)
    present = int(np.count_nonzero(counts))  # a NumPy integer would make the weights float64
    return [len(labels) / (present * count) if count else 0.0 for count in counts.tolist()]

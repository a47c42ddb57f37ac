"""What can be done where some classes have many more images than others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def balanced_order(labels: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    """As many images as there are, in random order, of every class equally often.

    A class's images are drawn in rounds, each of which has all of them once: no image comes up again before the
    others have. Of a class with more images than its share, some are left out.

    Args:
        labels: Class of each image.
        generator: Where chance comes from.

    Returns:
        Indices of images [N].
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


def class_weights(labels: Sequence[int], num_classes: int) -> list[float]:
    """A weight for each class, in inverse proportion to its number of images, whose mean over the images is 1.

    A class without images weighs nothing.
    """
    import numpy as np

    counts = np.bincount(np.asarray(labels), minlength=num_classes)
    present = np.count_nonzero(counts)
    return [len(labels) / (present * count) if count else 0.0 for count in counts.tolist()]

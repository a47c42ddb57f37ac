"""Stratified, seeded split into training and validation images, and its record in the run folder."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgformer.errors import UserError
from msgformer.utils.seeding import derive

SPLIT_FILE = "split.csv"


def stratified_split(
    labels: Sequence[int], classes: Sequence[str], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Split the images of each class by the same fraction, with at least one image on either side.

    The choice within a class depends only on the seed, the label and the number of images of the class.

    Args:
        labels: Class index of each image.
        classes: Class names, for messages.
        fraction: Fraction of the images for validation, 0..1.
        seed: Any non-negative number.

    Returns:
        Indices of the training and of the validation images, both ascending.

    Raises:
        UserError: The fraction is not between 0 and 1, or a class has a single image.
    """
    import numpy as np

    if not 0 < fraction < 1:
        raise UserError(f"val_fraction must lie between 0 and 1, not {fraction:g}")
    chosen: list[int] = []
    for label, name in enumerate(classes):
        members = np.flatnonzero(np.asarray(labels) == label)
        if len(members) < 2:
            few = f"class {name!r} has {len(members)} image(s)"
            raise UserError(f"{few}: a split into train and val needs at least 2")
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        order = np.random.default_rng(derive(seed, label)).permutation(members)
        chosen += order[:count].tolist()
    held_out = set(chosen)
    return [i for i in range(len(labels)) if i not in held_out], sorted(chosen)


def write_split(folder: Path, subsets: Mapping[str, tuple[Sequence[str], Sequence[str]]]) -> None:
    """Write ``split.csv`` with the columns subset, class and name.

    Args:
        folder: Run folder.
        subsets: Names of the images and of their classes per subset.
    """
    with (folder / SPLIT_FILE).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(("subset", "class", "name"))
        for subset, (names, classes) in subsets.items():
            writer.writerows((subset, label, name) for name, label in zip(names, classes, strict=True))


def read_split(folder: Path, subset: str) -> list[str] | None:
    """Read the names of a subset's images from ``split.csv``; None if there is no such file.

    Args:
        folder: Run folder.
        subset: "train" or "val".
    """
    path = folder / SPLIT_FILE
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [row["name"] for row in csv.DictReader(file) if row["subset"] == subset]

"""Cityscapes' folders, and what the numbers in its label maps mean."""

from __future__ import annotations

from pathlib import Path

from msgformer.data.files.folder import find_images
from msgformer.data.problems import Problem
from msgformer.data.segmentation.label_maps import LabelScheme

CLASSES = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""The 19 classes that are scored, by the numbers in ``*_labelIds.png``."""

IMAGE, TRAIN_IDS, LABEL_IDS = "_leftImg8bit.png", "_gtFine_labelTrainIds.png", "_gtFine_labelIds.png"


def is_cityscapes(root: Path) -> bool:
    """Whether a folder is laid out as Cityscapes is."""
    return (root / "leftImg8bit").is_dir() and (root / "gtFine").is_dir()


def pair_cityscapes(images: Path, maps: Path) -> tuple[LabelScheme, list[tuple[str, str]], list[Problem]]:
    """What the labels mean, the pairs of image and label map, and an error for each image without a map.

    ``*_labelTrainIds.png``, where the first image has one, are taken before ``*_labelIds.png``.

    Args:
        images: ``leftImg8bit/SUBSET``.
        maps: ``gtFine/SUBSET``.
    """
    names = [name for name in find_images(images) if name.endswith(IMAGE)]
    ready = bool(names) and (maps / names[0].replace(IMAGE, TRAIN_IDS)).is_file()
    pairs, problems = [], []
    for name in names:
        label_map = maps / name.replace(IMAGE, TRAIN_IDS if ready else LABEL_IDS)
        if label_map.is_file():
            pairs.append((str(images / name), str(label_map)))
        else:
            message = f"no label map {label_map}; add it or remove the image"
            problems.append(Problem("error", "image without label map", str(images / name), message))
    classes = tuple(CLASSES.values())
    if ready:
        return LabelScheme(classes, {label: label for label in range(len(classes))}), pairs, problems
    values = {number: label for label, number in enumerate(CLASSES)}
    return LabelScheme(classes, values, others_ignored=True), pairs, problems

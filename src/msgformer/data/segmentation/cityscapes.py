"""Layout and labels of Cityscapes."""

from __future__ import annotations

from pathlib import Path

from msgformer.data.files.folder import find_images
from msgformer.data.problems import Problem
from msgformer.data.segmentation.label_scheme import LabelScheme

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
"""The 19 evaluated classes by their ids in ``*_labelIds.png``."""

IMAGE, TRAIN_IDS, LABEL_IDS = "_leftImg8bit.png", "_gtFine_labelTrainIds.png", "_gtFine_labelIds.png"


def is_cityscapes(root: Path) -> bool:
    """Return whether a folder has the layout of Cityscapes."""
    return (root / "leftImg8bit").is_dir() and (root / "gtFine").is_dir()


def pair_cityscapes(images: Path, maps: Path) -> tuple[LabelScheme, list[tuple[str, str]], list[Problem]]:
    """Pair the images with their label maps.

    ``*_labelTrainIds.png`` are preferred to ``*_labelIds.png`` if the first image has one.

    Args:
        images: Folder ``leftImg8bit/SUBSET``.
        maps: Folder ``gtFine/SUBSET``.

    Returns:
        The label scheme, the paths of each image and its label map, and an error for each image without a map.
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

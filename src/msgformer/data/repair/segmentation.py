"""Repaired copies of segmentation datasets: label maps of class indices in ADE20K's layout."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgformer.config.dense_data_options import LabelOptions
from msgformer.data.files.images import probe
from msgformer.data.problems import Problem
from msgformer.data.repair.copying import Repair, counted, error_paths, place_file, refuse_others, unique_names
from msgformer.data.segmentation.class_file import CLASS_FILES
from msgformer.data.segmentation.label_maps import LabeledImages
from msgformer.data.segmentation.sets import LABELS_FILE
from msgformer.data.survey import read_label_maps

FOLDERS = {"train": "training", "val": "validation"}
"""Names of the folders of the subsets in ADE20K's layout."""

FILES = ("unreadable image", "image without label map", "label map without image")
"""Kinds of errors that leaving out an image and its label map repairs."""

UNREADABLE_MAP = "unreadable label map"
"""Kind of error of a label map that is damaged, which is left out, or that is no label map, which is refused."""


def repair_segmentation(data: str, problems: Sequence[Problem], output: Path, label_options: LabelOptions) -> Repair:
    """Write ``images`` and ``annotations`` with ``training`` and ``validation``, and ``classes.txt``.

    Args:
        data: The folder.
        problems: From `survey_segmentation`.
        output: The new folder.
        label_options: Meaning of the labels.

    Raises:
        UserError: There are errors that can't be repaired.
    """
    damaged = {path for path in error_paths(problems, (UNREADABLE_MAP,)) if probe(path, whole=True) is not None}
    refuse_others((problem for problem in problems if problem.path not in damaged), FILES)
    unusable = error_paths(problems, FILES) | damaged
    changes: Counter[str] = Counter()
    images, classes = {}, None
    for subset, (found, _) in read_label_maps(data, label_options).items():
        folder = FOLDERS.get(subset, subset)
        usable = [index for index, pair in enumerate(found.pairs) if not unusable & {*pair}]
        for index, name in zip(usable, unique_names([found.pairs[index][0] for index in usable]), strict=True):
            place_file(found.pairs[index][0], output / "images" / folder / name)
            _write_map(found, index, output / "annotations" / folder / f"{Path(name).stem}.png", changes)
        images[subset] = len(usable)
        classes = classes or found.classes
    assert classes is not None
    (output / CLASS_FILES[0]).write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    (output / LABELS_FILE).write_text(json.dumps({"reduce_zero_label": False}), encoding="utf-8")
    return Repair(images, counted(changes), sorted(unusable))


def _write_map(data: LabeledImages, index: int, target: Path, changes: Counter[str]) -> None:
    """Write the class indices of an image; a label map that holds just these is linked instead."""
    import numpy as np
    from PIL import Image

    source = data.pairs[index][1]
    labels = data.labels(index)
    with Image.open(source) as image:
        is_gray = image.mode == "L" and image.format == "PNG"
        is_same = is_gray and np.array_equal(np.asarray(image), labels)
    if is_same:
        place_file(source, target)
        return
    changes["label maps written as gray PNG files of class indices"] += 1
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels if labels.dtype == np.uint8 else labels.astype(np.uint16)).save(target)

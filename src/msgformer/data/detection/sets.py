"""Detection datasets in the layouts of COCO, Pascal VOC and YOLO."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from msgformer.data.detection.coco import read_coco
from msgformer.data.detection.instances import InstanceSet, with_classes
from msgformer.data.detection.voc import read_voc, voc_classes
from msgformer.data.detection.yolo import find_config, read_config, read_yolo
from msgformer.data.files.folder import require_folder
from msgformer.data.problems import Problem, raise_errors
from msgformer.errors import UserError

SUBSETS = {"train": ("train",), "val": ("val", "test"), "test": ("test",)}
"""Prefixes of the names of the subsets, in order of preference."""

PREFIXES = tuple(itertools.chain(*SUBSETS.values()))

TRAINING_SUBSETS = ("train", "val")
"""Subsets that a training needs."""

Reading = tuple[InstanceSet, list[Problem]]
"""Valid images of a subset, and the problems found while reading it."""


def find_readers(data: Path, subsets: Sequence[str] = TRAINING_SUBSETS) -> dict[str, Callable[[], Reading]]:
    """Find the files of the subsets of a data folder, and return functions that read them.

    Args:
        data: Folder in COCO's layout, ``annotations/instances_*.json`` with the images in ``NAME`` or ``images/NAME``
            (also ``train.json`` and ``val.json``, or ``NAME/_annotations.coco.json`` beside the images), or in Pascal
            VOC's, ``Annotations``, ``JPEGImages`` and ``ImageSets/Main``, or in YOLO's, ``data.yaml``.
        subsets: Names of the subsets, which are keys of `SUBSETS`.

    Raises:
        UserError: The folder has none of these layouts, or lacks a subset.
    """
    root = require_folder(data)
    if (root / "Annotations").is_dir() and (root / "ImageSets" / "Main").is_dir():
        return _find_voc(root, subsets)
    if (path := find_config(root)) is not None:
        config = read_config(path, subsets)
        return {subset: partial(read_yolo, root, config, subset) for subset in subsets}
    return {subset: partial(read_coco, root, *_find_coco(root, subset)) for subset in subsets}


def open_detection(data: Path) -> tuple[InstanceSet, InstanceSet]:
    """Open the training and validation images, with the same labels for the same classes.

    Raises:
        UserError: The folder has an unknown layout, or its annotations have errors; the message names the first.
    """
    train, val = (_checked(read()) for read in find_readers(data).values())
    return train, with_classes(val, train.classes)


def open_detection_val(data: Path, classes: Sequence[str], subset: str = "val") -> InstanceSet:
    """Open the validation images, or those of another subset, for evaluating a model.

    Args:
        data: As of :func:`find_readers`.
        classes: Classes of the model.
        subset: "train", "val" or "test".

    Raises:
        UserError: As of :func:`open_detection`, or the class of an object is not among ``classes``.
    """
    return with_classes(_checked(find_readers(data, (subset,))[subset]()), classes)


def _checked(reading: Reading) -> InstanceSet:
    """Return the images; raises UserError if there are errors among the problems."""
    found, problems = reading
    raise_errors(problems)
    return found


def _find_coco(root: Path, subset: str) -> tuple[Path, Path]:
    """Return the annotation file of a subset and the folder of its images."""
    official = [
        (path, path.stem.removeprefix("instances_"))
        for folder in (root / "annotations", root)
        for path in sorted(folder.glob("*.json"))
        if path.stem.startswith(("instances_", *PREFIXES))
    ]
    exported = [(path, path.parent.name) for path in sorted(root.glob("*/_annotations.coco.json"))]
    by_prefix = ([one for one in official + exported if one[1].startswith(prefix)] for prefix in SUBSETS[subset])
    found = next(filter(None, by_prefix), [])
    if not found:
        raise UserError(
            f"{root} has no annotations/instances_{subset}*.json, as COCO's layout has, nor is it laid out as Pascal"
            " VOC (Annotations, JPEGImages, ImageSets/Main) or YOLO (data.yaml)"
        )
    if len(found) > 1:
        files = ", ".join(path.relative_to(root).as_posix() for path, _ in found)
        raise UserError(f"{root} has several files for {subset}: {files}; keep one")
    path, name = found[0]
    places = [root / name, root / "images" / name, root / "images"]
    return path, next((place for place in places if place.is_dir()), places[0])


def _find_voc(root: Path, subsets: Sequence[str]) -> dict[str, Callable[[], Reading]]:
    lists = {subset: root / "ImageSets" / "Main" / f"{subset}.txt" for subset in subsets}
    for path in lists.values():
        if not path.is_file() or not path.read_text(encoding="utf-8").split():
            raise UserError(f"{path} is missing or empty; it must list the names of the images of its subset")
    # A list for one class has a second column, which tells whether the class is present.
    names = {
        subset: [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        for subset, path in lists.items()
    }
    return {subset: partial(_read_voc, root, names, subset) for subset in subsets}


def _read_voc(root: Path, names: dict[str, list[str]], subset: str) -> Reading:
    classes = voc_classes(root, [name for listed in names.values() for name in listed])
    if not classes:
        lists = " and ".join(f"{listed}.txt" for listed in names)
        raise UserError(f"{root / 'Annotations'} names no object in any image of ImageSets/Main/{lists}")
    return read_voc(root, names[subset], classes)

"""Detection datasets in the layouts of COCO, Pascal VOC, YOLO and LabelMe."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgformer.data.detection.coco import read_coco
from msgformer.data.detection.coco_files import CocoFiles, find_coco
from msgformer.data.detection.instances import InstanceSet, with_classes
from msgformer.data.detection.labelme import find_labelme
from msgformer.data.detection.split import split_instances
from msgformer.data.detection.voc import find_voc, find_voc_exports
from msgformer.data.detection.yolo import YoloConfig, find_config, find_yolo_exports, read_config, read_yolo
from msgformer.data.files.folder import require_folder
from msgformer.data.files.locations import CocoLocation
from msgformer.data.problems import Problem, raise_errors
from msgformer.errors import UserError, shown

Reading = tuple[InstanceSet, list[Problem]]
"""Valid images of a subset, and the problems found while reading it."""

Readers = dict[str, Callable[[], Reading]]
"""Functions that read the subsets: "train", "val" and, beside it, "test"; or "all" of a data set without subsets."""


@dataclass(frozen=True)
class Split:
    """How to split a data set without subsets.

    Attributes:
        val_fraction: Fraction of the images for validation.
        seed: Seed of the split.
    """

    val_fraction: float = 0.2
    seed: int = 0


def find_readers(data: str | Path, *, with_masks: bool = True) -> Readers:
    """Find the annotation files of a data set, and return functions that read its subsets.

    Args:
        data: Folder in COCO's layout (one JSON file per subset or for all images), in Pascal VOC's (XML files), in
            YOLO's (``data.yaml`` or ``classes.txt``) or in LabelMe's (one JSON file per image); or a location of
            explicit paths, as of `CocoLocation`.
        with_masks: Whether to read masks; otherwise those of COCO's format aren't looked at.

    Raises:
        UserError: The folder has none of these layouts, or only a part of one.
    """
    if (explicit := CocoLocation.parse(data)) is not None:
        coco = find_coco(explicit.annotations, explicit.images)
        if coco is None:
            raise UserError(f"data.annotations: {shown(explicit.annotations)} has no JSON file in COCO's format")
        return _coco_readers(coco, with_masks)
    root = require_folder(data)
    if (voc := find_voc(root)) is not None:
        return _readers(voc.subsets, voc.read)
    if (path := find_config(root)) is not None:
        return _yolo_readers(root, read_config(path))
    if (coco := find_coco(root)) is not None:
        return _coco_readers(coco, with_masks)
    if (labelme := find_labelme(root)) is not None:
        return _readers(labelme.subsets, labelme.read)
    if (voc := find_voc_exports(root)) is not None:
        return _readers(voc.subsets, voc.read)
    if (yolo := find_yolo_exports(root)) is not None:
        return _yolo_readers(root, yolo)
    raise UserError(
        f"{root} has no annotations: neither annotations/instances_*.json (COCO's layout), nor XML files (Pascal"
        " VOC's), data.yaml (YOLO's) or JSON files beside the images (LabelMe's)"
    )


def open_detection(
    data: str | Path, split: Split | None = None, *, with_masks: bool = True
) -> tuple[InstanceSet, InstanceSet]:
    """Open the training and validation images, with the same labels for the same classes.

    Args:
        data: As of `find_readers`.
        split: How to split a data set without subsets.
        with_masks: As of `find_readers`.

    Raises:
        UserError: The folder has an unknown layout, or its annotations have errors; the message names the first.
    """
    readers = find_readers(data, with_masks=with_masks)
    if "all" in readers:
        split = split or Split()
        return split_instances(_checked(readers["all"]()), split.val_fraction, split.seed)
    if "train" not in readers:
        raise UserError(f"{shown(data)} has annotations of {' and '.join(readers)} images, but of no training images")
    train, val = (_checked(readers[subset]()) for subset in ("train", "val"))
    return train, with_classes(val, train.classes)


def open_detection_val(
    data: str | Path, classes: Sequence[str], names: Collection[str] | None = None, *, with_masks: bool = True
) -> InstanceSet:
    """Open the validation images for evaluating a model.

    Args:
        data: As of `find_readers`.
        classes: Classes of the model.
        names: Names of the images that a run held out of a data set without subsets; all images by default.
        with_masks: As of `find_readers`.

    Raises:
        UserError: As of :func:`open_detection`, or the class of an object is not among ``classes``, or an image that
            was held out is gone.
    """
    readers = find_readers(data, with_masks=with_masks)
    found = with_classes(_checked(readers["val" if "val" in readers else next(iter(readers))]()), classes)
    return found if names is None or "all" not in readers else found.named(names)


def _checked(reading: Reading) -> InstanceSet:
    """Return the images; raises UserError if there are errors among the problems."""
    found, problems = reading
    raise_errors(problems)
    return found


def _readers(subsets: Collection[str], read: Callable[[str], Reading]) -> Readers:
    """Return the readers of subsets; test images validate where there are no others, and a lone subset is split."""
    found: Readers = {subset: partial(read, subset) for subset in subsets}
    if "val" not in found and "test" in found:
        found["val"] = found.pop("test")
    return {"all": found["train"]} if [*found] == ["train"] else found


def _yolo_readers(root: Path, config: YoloConfig) -> Readers:
    return _readers(config.images, partial(read_yolo, root, config))


def _coco_readers(files: CocoFiles, with_masks: bool) -> Readers:
    def read(subset: str) -> Reading:
        file = files.subsets[subset]
        return read_coco(files.root, file, files.finder(subset), with_masks=with_masks)

    return _readers(files.subsets, read)

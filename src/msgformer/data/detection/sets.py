"""Detection datasets in the layouts of COCO, Pascal VOC, YOLO and LabelMe."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from msgformer.data.detection.coco import read_coco
from msgformer.data.detection.coco_files import CocoFiles, find_coco
from msgformer.data.detection.instances import InstanceSet, with_classes
from msgformer.data.detection.labelme import find_labelme
from msgformer.data.detection.split import split_by_rule
from msgformer.data.detection.voc import find_voc, find_voc_exports
from msgformer.data.detection.yolo import YoloConfig, find_config, find_yolo_exports, read_config, read_yolo
from msgformer.data.files.folder import require_folder
from msgformer.data.files.locations import CocoLocation
from msgformer.data.loading.split import SplitRule, Subset, refuse_rule
from msgformer.data.problems import Problem, raise_errors
from msgformer.errors import UserError, shown

Reading = tuple[InstanceSet, list[Problem]]
"""Valid images of a subset, and the problems found while reading it."""

Readers = dict[str, Callable[[], Reading]]
"""Functions that read the subsets: "train", "val" and, beside it, "test"; or "all" of a data set without subsets."""


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


def open_detection(data: str | Path, *, with_masks: bool = True) -> tuple[InstanceSet, InstanceSet]:
    """Open the training and validation images, with the same labels for the same classes.

    Args:
        data: As of `find_readers`.
        with_masks: As of `find_readers`.

    Raises:
        UserError: The folder has an unknown layout, or its annotations have errors; the message names the first.
    """
    train, val, _ = open_detection_training(data, SplitRule(), with_masks=with_masks)
    return train, val


def open_detection_training(
    data: str | Path, rule: SplitRule, *, with_masks: bool = True
) -> tuple[InstanceSet, InstanceSet, InstanceSet | None]:
    """Open the images of a training as `open_detection` does, split by a rule if the data has no subsets.

    Args:
        data: As of `find_readers`.
        rule: How to split a data set without subsets.
        with_masks: As of `find_readers`.

    Returns:
        Training images, validation images, and those that a split file keeps for a test, if any.

    Raises:
        UserError: As of `open_detection`, or the images can't be split so.
    """
    readers = find_readers(data, with_masks=with_masks)
    if "all" in readers:
        return split_by_rule(_checked(readers["all"]()), rule)
    refuse_rule(rule, data)
    if "train" not in readers:
        raise UserError(f"{shown(data)} has annotations of {' and '.join(readers)} images, but of no training images")
    train, val = (_checked(readers[subset]()) for subset in ("train", "val"))
    return train, with_classes(val, train.classes), None


def open_detection_val(
    data: str | Path,
    classes: Sequence[str],
    names: Collection[str] | None = None,
    *,
    with_masks: bool = True,
    subset: Subset = "val",
) -> InstanceSet:
    """Open the validation images, or those of another subset, for evaluating a model.

    Args:
        data: As of `find_readers`.
        classes: Classes of the model.
        names: Names of the images that a run has recorded of a data set without subsets; all images by default.
        with_masks: As of `find_readers`.
        subset: "train", "val" or "test".

    Raises:
        UserError: As of :func:`open_detection`, or the class of an object is not among ``classes``, or an image that
            was held out is gone.
    """
    readers = find_readers(data, with_masks=with_masks)
    if "all" in readers:
        found = with_classes(_checked(readers["all"]()), classes)
        return found if names is None else found.named(names)
    chosen = next(iter(readers)) if subset == "val" and "val" not in readers else subset
    if chosen not in readers:
        raise UserError(f"split: {shown(str(data))} has {', '.join(readers)}, but no {subset} images of its own")
    return with_classes(_checked(readers[chosen]()), classes)


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

"""Segmentation datasets in the layouts of ADE20K and Cityscapes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from msgformer.config.dense_data_options import LabelOptions
from msgformer.data.files.folder import find_images, require_folder
from msgformer.data.files.layout import find_subset
from msgformer.data.problems import Problem, raise_errors
from msgformer.data.segmentation.cityscapes import is_cityscapes, pair_cityscapes
from msgformer.data.segmentation.class_file import ADE20K_CLASSES, CLASS_FILES, find_classes, read_classes
from msgformer.data.segmentation.label_maps import LabeledImages
from msgformer.data.segmentation.label_scheme import LabelScheme
from msgformer.errors import UserError

SUBSETS = ("train", "val")

LABELS_FILE = "labels.json"
"""File in the data folder with the numbering of labels, as ``{"reduce_zero_label": true}``."""

FOLDER_PAIRS = (
    ("images", "annotations"),
    ("img_dir", "ann_dir"),
    ("images", "masks"),
    ("images", "labels"),
    ("imgs", "masks"),
)
"""Names of the folders of images and of label maps: ADE20K's, MMSegmentation's, and others in use."""

MAP_ENDINGS = ("mask", "masks", "label", "labels", "labelTrainIds", "gt", "seg", "segmentation")
"""Words that the name of a label map may have after that of its image, as in ``photo_mask.png``."""


def find_segmentation(data: Path, subsets: Sequence[str] = SUBSETS) -> dict[str, tuple[Path, Path]]:
    """Find the folders of the images and label maps of the subsets, without listing files.

    Args:
        data: Folder in ADE20K's layout, ``images`` and ``annotations`` (or another pair in `FOLDER_PAIRS`) with
            ``training`` and ``validation`` in each and the classes' names in ``classes.txt`` or ``objectInfo150.txt``,
            or in Cityscapes', ``leftImg8bit`` and ``gtFine`` with ``train`` and ``val``.
        subsets: Names of the subsets; besides "train" and "val" there may be "test".

    Raises:
        UserError: The folder has neither layout, or lacks a subset.
    """
    root = require_folder(data)
    names = ("leftImg8bit", "gtFine") if is_cityscapes(root) else _folder_pair(root)
    found = {}
    for subset in subsets:
        images, maps = (find_subset(root / name, subset) for name in names)
        if images is None or maps is None:
            raise UserError(
                f"{root} has no {subset} images and label maps: it must be laid out as ADE20K (images and annotations,"
                " each with training and validation) or as Cityscapes (leftImg8bit and gtFine, each with train and val)"
            )
        found[subset] = images, maps
    return found


def _folder_pair(root: Path) -> tuple[str, str]:
    """Return the names of the folders of images and of label maps, as far as they are there."""
    return next((pair for pair in FOLDER_PAIRS if all((root / name).is_dir() for name in pair)), FOLDER_PAIRS[0])


def resolve_reduce_zero(data: Path, labels: LabelOptions) -> bool:
    """Decide whether a dataset's labels count from 1, with 0 for no class.

    Args:
        data: As of :func:`find_segmentation`.
        labels: The user's choice. "auto" is false with a label map. Otherwise it reads ``labels.json`` in the folder;
            without that file it means true for ADE20K itself, which is recognized by its table of 150 classes, and
            false otherwise.

    Raises:
        UserError: ``labels.json`` is invalid, or the classes have no names.
    """
    asked = labels.reduce_zero_label
    if isinstance(asked, bool):
        return asked
    if asked != "auto":
        raise UserError(f"reduce_zero_label must be true, false or auto, not {asked!r}")
    root = require_folder(data)
    if is_cityscapes(root) or labels.label_map is not None:
        return False
    if (root / LABELS_FILE).is_file():
        return _read_labels_file(root / LABELS_FILE)
    names = read_classes(root)
    return names.path.name == CLASS_FILES[-1] and len(names.classes) == ADE20K_CLASSES


def _read_labels_file(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} isn't valid JSON ({error}); correct or remove it") from error
    match content:
        case {"reduce_zero_label": bool(reduce_zero)} if len(content) == 1:
            return reduce_zero
    raise UserError(f'{path} must hold {{"reduce_zero_label": true}} or false and nothing else; correct or remove it')


def open_segmentation(data: Path, labels: LabelOptions) -> tuple[LabeledImages, LabeledImages]:
    """Open the training and validation images with their label maps.

    Args:
        data: As of :func:`find_segmentation`.
        labels: Meaning of the labels; ignored for Cityscapes, except that it refuses a label map.

    Raises:
        UserError: The folder has an unknown layout, the classes have no names, or an image has no label map.
    """
    train, val = (open_subset(data, subset, labels) for subset in SUBSETS)
    return train, val


def open_subset(data: Path, subset: str, labels: LabelOptions) -> LabeledImages:
    """Open one subset.

    Args:
        data: As of :func:`find_segmentation`.
        subset: "train", "val" or "test".
        labels: As of :func:`open_segmentation`.

    Raises:
        UserError: As of :func:`open_segmentation`.
    """
    found, problems = read_subset(data, subset, labels)
    raise_errors(problems)
    return found


def read_subset(data: Path, subset: str, labels: LabelOptions) -> tuple[LabeledImages, list[Problem]]:
    """Read one subset, with an error for each image without a label map and each label map without an image.

    Args:
        data: As of :func:`find_segmentation`.
        subset: "train", "val" or "test".
        labels: As of :func:`open_segmentation`.

    Raises:
        UserError: The folder has an unknown layout, or the classes have no names.
    """
    images, maps = find_segmentation(data, (subset,))[subset]
    root = require_folder(data)
    if is_cityscapes(root):
        if labels.label_map is not None:
            raise UserError("segment_images.label_map: Cityscapes has its own labels; leave it out")
        scheme, pairs, problems = pair_cityscapes(images, maps)
    else:
        scheme = _scheme(root, labels)
        pairs, problems = _pair_by_name(images, maps)
    if not pairs and not problems:
        problems.append(Problem("error", "no images", str(images), "there are no images in this folder"))
    return LabeledImages(root, pairs, scheme), problems


def _scheme(root: Path, labels: LabelOptions) -> LabelScheme:
    """Return the meaning of the labels in a folder."""
    if labels.label_map is not None:
        named = read_classes(root).classes if find_classes(root) is not None else None
        return LabelScheme.from_label_map(labels.label_map, named)
    names = read_classes(root)
    return LabelScheme.from_classes(names.classes, reduce_zero=resolve_reduce_zero(root, labels), colors=names.colors)


def _pair_by_name(images: Path, maps: Path) -> tuple[list[tuple[str, str]], list[Problem]]:
    """Pair images and label maps whose names are equal except for the suffix and a word such as "_mask"."""
    by_stem = {Path(name).with_suffix("").as_posix(): name for name in find_images(maps)}
    pairs, problems = [], []
    for name in find_images(images):
        stem = Path(name).with_suffix("").as_posix()
        stems = (stem, *(f"{stem}{mark}{ending}" for ending in MAP_ENDINGS for mark in "_-"))
        map_name = next((by_stem.pop(one) for one in stems if one in by_stem), None)
        if map_name is None:
            message = f"no label map for it in {maps}; add one or remove the image"
            problems.append(Problem("error", "image without label map", str(images / name), message))
        else:
            pairs.append((str(images / name), str(maps / map_name)))
    for name in by_stem.values():
        message = f"no image for it in {images}; add one or remove the label map"
        problems.append(Problem("error", "label map without image", str(maps / name), message))
    return pairs, problems

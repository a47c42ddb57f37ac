"""Datasets in tar files: images in class folders, and WebDataset shards. Local files are read without unpacking."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from msgformer.data.files.folder import is_image, natural_order
from msgformer.data.files.layout import pick_subset
from msgformer.data.files.locations import Location, expand_shards, split_shards
from msgformer.data.files.remote import fetch_shards
from msgformer.data.files.sources import EncodedSource, numbered_classes
from msgformer.data.files.tars import Member, index_tar
from msgformer.errors import UserError, shown

CLASSES_FILE = "classes.txt"
"""File beside WebDataset shards with numeric labels, with the name of one class per line."""

LABEL_KEYS = ("label", "cls", "class")
"""Keys of the label in a record's .json file."""


class LabeledImage(NamedTuple):
    """An image in a tar file and its class, by name or by number."""

    image: Member
    label: str | int


class TarSource(EncodedSource):
    """Source of images inside tar files.

    Args:
        images: Locations of the images.
        labels: Index into ``classes`` of each image.
        classes: Class names.
    """

    def __init__(self, images: Sequence[Member], labels: Sequence[int], classes: Sequence[str]) -> None:
        self.images = tuple(images)
        self.labels, self.classes = tuple(labels), tuple(classes)
        self._shard_names = _shard_names({image.shard for image in self.images})

    def name(self, index: int) -> str:
        """Return the name of the tar file, with its folder if another one has the same, a colon, and the path in it."""
        image = self.images[index]
        return f"{self._shard_names[image.shard]}:{image.name}"

    def open(self, index: int) -> io.BytesIO:
        """Return the encoded image in memory."""
        return io.BytesIO(self.images[index].read())

    def where(self, index: int) -> str:
        """Return the path of the tar file, a colon, and the path in it."""
        return f"{self.images[index].shard}:{self.images[index].name}"


def _shard_names(shards: Iterable[str]) -> dict[str, str]:
    """Return a unique name for each path of a shard: its file name, or else its path below the common folder."""
    paths = {shard: Path(shard) for shard in shards}
    if len({path.name for path in paths.values()}) == len(paths):
        return {shard: path.name for shard, path in paths.items()}
    common = os.path.commonpath([path.parent for path in paths.values()])
    return {shard: path.relative_to(common).as_posix() for shard, path in paths.items()}


def open_tar_set(location: Location) -> tuple[TarSource, TarSource | None]:
    """Open the training and, if there is one, the validation set of a "tar" or "wds" location.

    Subsets are identified by the names of the shards or, for "tar", by the top-level folders ``train/`` and ``val/``.

    Raises:
        UserError: A shard is damaged, there is no labeled image, or the classes of the subsets differ.
    """
    train_shards, val_shards = split_shards(fetch_shards(expand_shards(location)))
    names = _class_names(train_shards)
    if location.scheme == "wds":
        train = [one for shard in train_shards for one in _records(shard)]
        val = None if val_shards is None else [one for shard in val_shards for one in _records(shard)]
    else:
        train, val = _in_folders(train_shards), None if val_shards is None else _in_folders(val_shards)
        if val is None:
            train, val = _split_by_top_folder(train)
        train, val = _named_by_folder(train), None if val is None else _named_by_folder(val)
    if not train or val == []:
        raise UserError(f"data: no labeled image in {location}")
    classes = _classes(train, val or [], names, location)
    return _source(train, classes, location), None if val is None else _source(val, classes, location)


def _source(images: Sequence[LabeledImage], classes: tuple[str, ...], location: Location) -> TarSource:
    index = {name: number for number, name in enumerate(classes)}
    labels = []
    for one in images:
        label = one.label if isinstance(one.label, int) else index.get(one.label, -1)
        if not 0 <= label < len(classes):
            raise UserError(
                f"data: class {one.label!r} of {shown(one.image.shard)}:{shown(one.image.name)} is not among"
                f" the {len(classes)} classes of {location}"
            )
        labels.append(label)
    return TarSource([one.image for one in images], labels, classes)


def _classes(
    train: Sequence[LabeledImage], val: Sequence[LabeledImage], names: list[str] | None, location: Location
) -> tuple[str, ...]:
    """Return the class names: those of ``classes.txt``, or else the labels themselves."""
    labels = {one.label for one in train}
    compared = labels if names else labels | {one.label for one in val}  # without names, numbers say nothing of words
    if len({type(label) for label in compared}) > 1:
        raise UserError(f"data: some labels in {location} are numbers and some are words; make them all the same")
    numbers = [label for label in labels if isinstance(label, int)]
    classes = tuple(names or (numbered_classes(max(numbers) + 1) if numbers else natural_order(map(str, labels))))
    if len(labels) < 2:
        raise UserError(f"data: only one class in {location} ({classes[0]!r}): a classifier needs at least two")
    return classes


def _class_names(shards: Sequence[str]) -> list[str] | None:
    """Return the lines of ``classes.txt`` in the shards' folder or its parent, or None."""
    folder = Path(shards[0]).parent
    for path in (folder / CLASSES_FILE, folder.parent / CLASSES_FILE):
        if path.is_file():
            return path.read_text(encoding="utf-8").split("\n")[: -1 if path.read_bytes().endswith(b"\n") else None]
    return None


def _in_folders(shards: Sequence[str]) -> list[LabeledImage]:
    """Return all images with their folder path as label, or the name of the tar file for images in no folder."""
    found = []
    for shard in shards:
        for member in index_tar(shard):
            path = PurePosixPath(member.name)
            if is_image(path.name):
                parent = "/".join(part for part in path.parent.parts if part != ".")
                found.append(LabeledImage(member, parent or Path(shard).stem))
    return found


def _split_by_top_folder(images: Sequence[LabeledImage]) -> tuple[list[LabeledImage], list[LabeledImage] | None]:
    """Split images by folders such as ``train/`` and ``val/`` at the top or one level below."""
    for depth in (0, 1):
        tops = [parts[depth] if len(parts := str(one.label).split("/")) > depth else "" for one in images]
        train, val = (pick_subset(sorted(set(tops)), subset) for subset in ("train", "val"))
        if train and val:
            return (
                [one for one, top in zip(images, tops, strict=True) if top == train],
                [one for one, top in zip(images, tops, strict=True) if top == val],
            )
    return list(images), None


def _named_by_folder(images: Sequence[LabeledImage]) -> list[LabeledImage]:
    """Reduce the labels to the first folder level that differs, since a folder around all images is not a class."""
    parts = [str(one.label).split("/") for one in images]
    depth = 0
    while all(len(one) > depth + 1 for one in parts) and len({one[depth] for one in parts}) == 1:
        depth += 1
    return [LabeledImage(one.image, folders[depth]) for one, folders in zip(images, parts, strict=True)]


def _records(shard: str) -> Iterable[LabeledImage]:
    """Yield the labeled images of a WebDataset shard; files with the same name up to the first dot form a record.

    Raises:
        UserError: The shard is damaged, or a record has no image or no label.
    """
    for key, group in groupby(index_tar(shard), lambda member: _key(member.name)):
        files = {member.name[len(key) + 1 :].lower(): member for member in group}
        image = next((member for suffix, member in files.items() if is_image(f"x.{suffix}")), None)
        label = _label(files, shard, key)
        if image is None and label is None:
            continue  # a file with metadata of the dataset
        if image is None or label is None:
            missing = "image" if image is None else f"label (.cls, or .json with one of {', '.join(LABEL_KEYS)})"
            raise UserError(f"record {key!r} in shard {shown(shard)} has no {missing}; write the shard again")
        yield LabeledImage(image, label)


def _key(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"


def _label(files: dict[str, Member], shard: str, key: str) -> str | int | None:
    """Return a record's label, as an integer if it looks like one, or None."""
    try:
        if "cls" in files:
            text = files["cls"].read().decode("utf-8").strip()
            return int(text) if text.lstrip("-").isdigit() else text or None
        if "json" in files:
            content = json.loads(files["json"].read())
            found = content if isinstance(content, dict) else {}
            label = next((found[name] for name in LABEL_KEYS if name in found), None)
            return label if isinstance(label, int | str) else None
    except ValueError as error:
        raise UserError(f"record {key!r} in shard {shown(shard)} has no readable label ({error})") from error
    return None

"""Images in folders, a folder a class. This module lists names and opens no image; it needs no library."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgformer.errors import UserError, shown
from msgformer.model_names import nearest

IMAGE_SUFFIXES = frozenset({"bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp"})
"""Endings, in lower case, of the files that count as images."""

TRAIN_NAMES = ("train", "training")
VAL_NAMES = ("val", "validation", "valid", "test")


@dataclass(frozen=True)
class Listing:
    """Labeled images of one subset.

    Attributes:
        root: Folder that the names are relative to.
        names: One path an image, relative to ``root``, in sorted order within a class.
        labels: Index into ``classes`` of each image.
        classes: Class names, sorted.
    """

    root: str
    names: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> str:
        """Where image ``index`` lies."""
        return f"{self.root}/{self.names[index]}"

    def subset(self, indices: list[int]) -> Listing:
        """The images at ``indices``, with the same classes."""
        names = tuple(self.names[i] for i in indices)
        return Listing(self.root, names, tuple(self.labels[i] for i in indices), self.classes)


def is_image(name: str) -> bool:
    """Whether a file name ends like an image's and isn't hidden."""
    stem, _, suffix = name.rpartition(".")
    return stem != "" and not stem.startswith(".") and suffix.lower() in IMAGE_SUFFIXES


def require_path(path: Path, key: str) -> Path:
    """``path``, which must exist; ``key`` names it in the message, with the nearest neighbor.

    Raises:
        UserError: nothing is there.
    """
    if path.exists():
        return path
    if path.is_symlink():
        raise UserError(f"{key}: {shown(path)} is a link that leads nowhere; mend or remove it")
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UserError(f"{key}: no such file or folder: {shown(path)}{nearest(path.name, siblings)}")


def require_folder(path: str | Path, key: str = "data") -> Path:
    """The folder at ``path``.

    Raises:
        UserError: there is nothing, or a file, at ``path``; names ``key``, and the nearest neighbor's name.
    """
    folder = require_path(Path(path).expanduser(), key)
    if folder.is_dir():
        return folder
    raise UserError(f"{key}: {shown(folder)} is a file, not a folder; give the folder that holds the class folders")


def find_images(folder: str | Path) -> list[str]:
    """Paths, relative to ``folder``, of all images in it and its subfolders, sorted; links are followed once."""
    return list(walk_images(folder))


def walk_images(folder: str | Path) -> Iterator[str]:
    """The paths of :func:`find_images` in their order, one folder's names in memory at a time."""
    # Nor is a link followed that leads up to a folder around: all classes would be in the class that it lies in.
    return _walk(str(folder), "", {str(parent) for parent in Path(folder).resolve().parents})


def _walk(folder: str, prefix: str, seen: set[str]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in seen:  # a link that leads back up would be walked for ever
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        # With the slash that follows it in a path, a folder comes where its images do among all sorted paths.
        names = sorted(f"{entry.name}/" if _is_folder(entry) else entry.name for entry in entries)
    for name in names:
        if name.endswith("/"):
            if not name.startswith("."):
                yield from _walk(f"{folder}/{name[:-1]}", f"{prefix}{name}", seen)
        elif is_image(name):
            yield f"{prefix}{name}"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def class_folders(root: Path, classes: Sequence[str] | None = None) -> list[str]:
    """Names of the class folders directly in ``root``, sorted; hidden ones don't count.

    Args:
        root: Folder with one folder a class.
        classes: Class names to expect, some or all; by default any two or more.

    Raises:
        UserError: there are none, or they aren't the expected ones.
    """
    found = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not found:
        loose = "images lie in it directly; put" if any(is_image(entry.name) for entry in root.iterdir()) else "put"
        raise UserError(f"no class folders in {root}: {loose} the images of each class into a folder of its name")
    if classes is None and len(found) < 2:
        raise UserError(f"only one class folder in {root} ({found[0]!r}): a classifier needs at least two")
    if classes is not None and (unknown := sorted(set(found) - set(classes))):
        raise UserError(
            f"class folder {unknown[0]!r} in {root} is not among the known classes{nearest(unknown[0], classes)}"
        )
    return found


def list_classes(root: Path, classes: Sequence[str] | None = None) -> Listing:
    """All images under the class folders of ``root``; the arguments and errors are those of :func:`class_folders`.

    Raises:
        UserError: a class folder is empty, too.
    """
    found = class_folders(root, classes)
    known = tuple(classes or found)
    names: list[str] = []
    labels: list[int] = []
    for name in found:
        images = find_images(root / name)
        if not images:
            raise UserError(f"class folder {root / name} holds no images; fill it or remove it")
        names += [f"{name}/{image}" for image in images]
        labels += [known.index(name)] * len(images)
    return Listing(str(root), tuple(names), tuple(labels), known)


def find_subset(root: Path, names: Sequence[str]) -> Path | None:
    """The first of the subfolders ``names`` that ``root`` has, or None."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def find_subsets(path: str | Path) -> tuple[Path, Path | None]:
    """Where the class folders for training and for validation lie; only folders are looked at, so it takes no time.

    Args:
        path: Folder that holds ``train/`` and ``val/`` with a folder a class in each, or the class folders alone.

    Returns:
        Both folders; the second is None where there are class folders only and a split must be made.

    Raises:
        UserError: the folder isn't laid out in either way.
    """
    root = require_folder(path)
    train, val = find_subset(root, TRAIN_NAMES), find_subset(root, VAL_NAMES)
    if train is not None and val is None:
        raise UserError(f"{root} has {train.name}/ but no val/; add one, or give --data {train} to split that")
    if train is None or val is None:
        train, val = root, None
    classes = class_folders(train)
    if val is not None:
        class_folders(val, classes)
    return train, val


def list_subsets(path: str | Path) -> tuple[Listing, Listing | None]:
    """The training and the validation images of a data folder, by the rules of :func:`find_subsets`."""
    train, val = find_subsets(path)
    training = list_classes(train)
    return training, None if val is None else list_classes(val, training.classes)

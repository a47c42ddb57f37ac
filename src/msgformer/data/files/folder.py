"""Images in folders, one folder per class. Lists names without opening images, and imports no third-party library."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgformer.errors import UserError, shown
from msgformer.model_names import nearest

IMAGE_SUFFIXES = frozenset({"bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp"})
"""Suffixes of image files, in lower case."""

TRAIN_NAMES = ("train", "training")
VAL_NAMES = ("val", "validation", "valid", "test")


@dataclass(frozen=True)
class Listing:
    """Labeled images of one subset.

    Attributes:
        root: Folder that the names are relative to.
        names: Path of each image relative to ``root``, sorted within a class.
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
        """Return the path of image ``index``."""
        return f"{self.root}/{self.names[index]}"

    def subset(self, indices: list[int]) -> Listing:
        """Return a listing of the images at ``indices``, with the same classes."""
        names = tuple(self.names[i] for i in indices)
        return Listing(self.root, names, tuple(self.labels[i] for i in indices), self.classes)


def is_image(name: str) -> bool:
    """Return whether a file name has the suffix of an image and is not hidden."""
    stem, _, suffix = name.rpartition(".")
    return stem != "" and not stem.startswith(".") and suffix.lower() in IMAGE_SUFFIXES


def require_path(path: Path, key: str) -> Path:
    """Return a path after checking that it exists.

    Args:
        path: The path.
        key: Name of the option, for messages.

    Raises:
        UserError: The path does not exist; the message suggests the most similar name beside it.
    """
    if path.exists():
        return path
    if path.is_symlink():
        raise UserError(f"{key}: {shown(path)} is a broken link; fix or remove it")
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UserError(f"{key}: no such file or folder: {shown(path)}{nearest(path.name, siblings)}")


def require_folder(path: str | Path, key: str = "data") -> Path:
    """Return the path of a folder after checking that it exists.

    Args:
        path: The folder; ``~`` is expanded.
        key: Name of the option, for messages.

    Raises:
        UserError: The path does not exist, or is a file.
    """
    folder = require_path(Path(path).expanduser(), key)
    if folder.is_dir():
        return folder
    raise UserError(f"{key}: {shown(folder)} is a file, not a folder; give the folder that holds the class folders")


def find_images(folder: str | Path) -> list[str]:
    """Return the relative paths of all images in a folder and its subfolders, sorted; links are followed once."""
    return list(walk_images(folder))


def walk_images(folder: str | Path) -> Iterator[str]:
    """Yield the paths of :func:`find_images`, with the names of only one folder in memory at a time."""
    # Links to a parent folder are skipped: otherwise the class with the link would contain the images of all classes.
    return _walk(str(folder), "", {str(parent) for parent in Path(folder).resolve().parents})


def _walk(folder: str, prefix: str, seen: set[str]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in seen:  # a link to a parent folder would cause an endless loop
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        # The trailing slash sorts a folder to where its images belong in the sorted list of all paths.
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


def subfolders(folder: Path) -> list[str]:
    """Return the sorted names of the subfolders, without hidden ones."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def class_folders(root: Path, classes: Sequence[str] | None = None) -> list[str]:
    """Return the sorted names of the class folders in ``root``, without hidden ones.

    Args:
        root: Folder with one subfolder per class.
        classes: Allowed class names; by default any two or more.

    Raises:
        UserError: There are no class folders, or one is not among ``classes``.
    """
    found = subfolders(root)
    if not found:
        loose = "it holds images directly; put" if any(is_image(entry.name) for entry in root.iterdir()) else "put"
        raise UserError(f"no class folders in {root}: {loose} the images of each class into a folder of its name")
    if classes is None and len(found) < 2:
        raise UserError(f"only one class folder in {root} ({found[0]!r}): a classifier needs at least two")
    if classes is not None and (unknown := sorted(set(found) - set(classes))):
        raise UserError(
            f"class folder {unknown[0]!r} in {root} is not among the known classes{nearest(unknown[0], classes)}"
        )
    return found


def list_classes(root: Path, classes: Sequence[str] | None = None) -> Listing:
    """List all images in the class folders of ``root``.

    Args:
        root: Folder with one subfolder per class.
        classes: Allowed class names, which then define the labels; by default the names of the folders.

    Raises:
        UserError: As of :func:`class_folders`, or a class folder is empty.
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
    """Return the first existing subfolder, or None.

    Args:
        root: The folder.
        names: Names of the subfolder, in order of preference.
    """
    return next((root / name for name in names if (root / name).is_dir()), None)


def find_val_folder(root: Path, classes: Sequence[str]) -> Path | None:
    """Return the folder of validation images, or None.

    A class may be called like such a folder, for example "valid": without ``train/`` beside it, it is a class folder.

    Args:
        root: Folder with ``val/``, or with class folders.
        classes: Names of the classes.
    """
    val = find_subset(root, VAL_NAMES)
    is_class = val is not None and val.name in classes and find_subset(root, TRAIN_NAMES) is None
    return None if is_class else val


def find_subsets(path: str | Path) -> tuple[Path, Path | None]:
    """Find the folders of the training and of the validation images, without listing images.

    Args:
        path: Folder with ``train/`` and ``val/``, each with one subfolder per class, or with class folders only.

    Returns:
        Both folders; the second is None if there are only class folders, which must be split.

    Raises:
        UserError: The folder has neither layout.
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
    """List the training and the validation images of a data folder, as of :func:`find_subsets`."""
    train, val = find_subsets(path)
    training = list_classes(train)
    return training, None if val is None else list_classes(val, training.classes)

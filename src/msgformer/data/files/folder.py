"""Images in folders, one folder per class. Lists names without opening images, and imports no third-party library."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgformer.errors import UserError, shown
from msgformer.model_names import nearest

IMAGE_SUFFIXES = frozenset(
    [
        *("apng", "avif", "avifs", "bmp", "dib", "gif", "heic", "heif", "hif", "j2c", "j2k", "jfif", "jp2", "jpc"),
        *("jpe", "jpeg", "jpf", "jpg", "jpx", "mpo", "pbm", "pfm", "pgm", "png", "pnm", "ppm", "qoi", "tga", "tif"),
        *("tiff", "webp"),
    ]
)
"""Suffixes of image files, in lower case."""

IGNORED_FOLDERS = frozenset({"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})
"""Names of folders that operating systems leave; hidden ones are ignored as well."""


@dataclass(frozen=True)
class Listing:
    """Labeled images of one subset.

    Attributes:
        root: Folder that the names are relative to.
        names: Path of each image relative to ``root``, sorted within a class.
        labels: Index into ``classes`` of each image.
        classes: Class names in natural order, or in that of a trained model.
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
            if not _is_ignored(name[:-1]):
                yield from _walk(f"{folder}/{name[:-1]}", f"{prefix}{name}", seen)
        elif is_image(name):
            yield f"{prefix}{name}"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name in IGNORED_FOLDERS


def subfolders(folder: Path) -> list[str]:
    """Return the names of the subfolders in natural order, without hidden ones and those of operating systems."""
    return natural_order(entry.name for entry in folder.iterdir() if entry.is_dir() and not _is_ignored(entry.name))


def ignored_folders(folder: Path) -> list[str]:
    """Return the sorted names of the subfolders that `subfolders` leaves out, except hidden ones."""
    return sorted(entry.name for entry in folder.iterdir() if entry.name in IGNORED_FOLDERS and entry.is_dir())


def holds_images(folder: Path) -> bool:
    """Return whether images lie directly in a folder."""
    with os.scandir(folder) as entries:
        return any(is_image(entry.name) and entry.is_file() for entry in entries)


def has_images(folder: Path) -> bool:
    """Return whether there is an image in a folder or below it; stops at the first, which is fast in a large folder."""
    return _has_images(str(folder), {str(parent) for parent in folder.resolve().parents})


def _has_images(folder: str, seen: set[str]) -> bool:
    real = os.path.realpath(folder)
    if real in seen:  # a link to a parent folder would cause an endless loop
        return False
    seen.add(real)
    deeper = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _is_folder(entry):
                if is_image(entry.name):
                    return True
            elif not _is_ignored(entry.name):
                deeper.append(entry.path)
    return any(_has_images(path, seen) for path in deeper)


def natural_order(names: Iterable[str]) -> list[str]:
    """Sort names as timm does, with numbers by value: "2" before "10"."""
    return sorted(names, key=lambda name: ([_natural_key(part) for part in re.split(r"(\d+)", name.lower())], name))


def _natural_key(part: str) -> tuple[int, int, str]:
    return (0, int(part), "") if part.isdecimal() else (1, 0, part)


def class_name(folder: str) -> str:
    """Return the class that a folder stands for: its name in composed Unicode, which systems write differently."""
    return unicodedata.normalize("NFC", folder)


def class_folders(root: Path, classes: Sequence[str] | None = None) -> dict[str, str]:
    """Return the class folders in ``root`` that hold images: the name of each folder by its class, in natural order.

    Args:
        root: Folder with one subfolder per class.
        classes: Allowed class names; by default any two or more.

    Raises:
        UserError: There are no class folders, two stand for one class, or one is not among ``classes``.
    """
    names = [name for name in subfolders(root) if has_images(root / name)]
    found: dict[str, str] = {}
    for name in names:
        if (other := found.setdefault(class_name(name), name)) != name:
            raise UserError(f"{root} has two folders of class {class_name(name)!r}, {other!r} and {name!r}; merge them")
    if not found:
        loose = "it holds images directly; put" if holds_images(root) else "put"
        raise UserError(f"no class folders in {root}: {loose} the images of each class into a folder of its name")
    if classes is None and len(found) < 2:
        raise UserError(f"only one class folder in {root} ({names[0]!r}): a classifier needs at least two")
    known = None if classes is None else {class_name(name) for name in classes}
    if classes is not None and known is not None and (unknown := [name for name in found if name not in known]):
        raise UserError(
            f"class folder {unknown[0]!r} in {root} is not among the known classes{nearest(unknown[0], classes)}"
        )
    return found


def list_classes(root: Path, classes: Sequence[str] | None = None) -> Listing:
    """List all images in the class folders of ``root``; folders without images are left out.

    Args:
        root: Folder with one subfolder per class.
        classes: Allowed class names, which then define the labels; by default those of the folders, in natural order.

    Raises:
        UserError: As of :func:`class_folders`.
    """
    found = class_folders(root, classes)
    known = tuple(classes or found)
    index = {class_name(name): label for label, name in enumerate(known)}
    names: list[str] = []
    labels: list[int] = []
    for name in sorted(found, key=lambda name: index[name]):
        images = find_images(root / found[name])
        names += [f"{found[name]}/{image}" for image in images]
        labels += [index[name]] * len(images)
    return Listing(str(root), tuple(names), tuple(labels), known)

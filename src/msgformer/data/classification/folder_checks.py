"""Checks of the layout of class folders, without opening images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from msgformer.data.files.folder import Listing, class_name, find_images, is_image, require_folder, subfolders
from msgformer.data.files.layout import find_layout
from msgformer.data.problems import Problem
from msgformer.errors import UserError, shown
from msgformer.model_names import nearest


def survey_folder(path: str) -> tuple[dict[str, Listing], list[Problem]]:
    """List the images of a data folder by subset ("train", "val" and "test", or "all"), with problems of its layout.

    Raises:
        UserError: The folder does not exist.
    """
    root = require_folder(path)
    try:
        layout = find_layout(root)
    except UserError as error:
        return {}, [Problem("error", "layout", str(root), str(error).removeprefix(f"{shown(root)}: "))]
    problems = [Problem("note", "layout", str(root), note) for note in layout.notes]
    if layout.train is None:
        assert layout.val is not None
        message = f"there is {layout.val.name}/ but no train/; add it, or move the class folders up"
        problems.append(Problem("error", "layout", str(root), message))
    folders = {"train": layout.train, "val": layout.val, "test": layout.test}
    if layout.val is None:
        folders = {"all": layout.train}
    listings = {subset: _list(folder, problems) for subset, folder in folders.items() if folder}
    for subset, listing in listings.items():
        problems += _class_problems(listing, is_split=subset == "all")
    for subset in {"val", "test"} & {*listings} if "train" in listings else ():
        problems += _differences(listings["train"], listings[subset], subset)
    return listings, problems


def _list(root: Path, problems: list[Problem]) -> Listing:
    """List the images in the class folders of ``root``, and add problems of the folders to ``problems``."""
    by_class: dict[str, list[str]] = {}
    for folder in subfolders(root):
        images = find_images(root / folder)
        if not images:
            message = "the folder holds no images and is left out; fill it if it is a class"
            problems.append(Problem("warning", "empty class", str(root / folder), message))
            continue
        if (name := class_name(folder)) in by_class:
            message = f"another folder is of class {name!r} as well; merge them"
            problems.append(Problem("error", "classes", str(root / folder), message))
        by_class.setdefault(name, []).extend(f"{folder}/{image}" for image in images)
    loose = loose_images(root)
    lost = "the image is in no class folder and isn't used; move it to one"
    problems += [Problem("warning", "image without class", path, lost) for path in loose]
    ignored = "not an image by its name, so it is ignored"
    problems += [Problem("note", "other file", path, ignored) for path in other_files(root)]
    names = tuple(name for images in by_class.values() for name in images)
    labels = tuple(label for label, images in enumerate(by_class.values()) for _ in images)
    return Listing(str(root), names, labels, tuple(by_class))


def _class_problems(listing: Listing, *, is_split: bool) -> Iterator[Problem]:
    """Yield problems of the classes of one set; ``is_split`` tells whether it is split into train and val."""
    if len(listing.classes) < 2:
        found = f"only one class folder, {listing.classes[0]!r}" if listing.classes else "no class folders"
        yield Problem("error", "classes", listing.root, f"{found}; a classifier needs at least two")
    if is_split:
        counts = Counter(listing.labels)
        for label, name in enumerate(listing.classes):
            if counts[label] == 1:
                message = "the class has a single image; a split into train and val needs two"
                yield Problem("error", "classes", f"{listing.root}/{name}", message)


def _differences(train: Listing, other: Listing, subset: str) -> Iterator[Problem]:
    """Yield classes that only the training images or only another subset has."""
    for name in sorted(set(other.classes) - set(train.classes)):
        message = f"the class isn't in training{nearest(name, train.classes)}; rename or remove the folder"
        yield Problem("error", "classes", f"{other.root}/{name}", message)
    for name in sorted(set(train.classes) - set(other.classes)):
        message = f"the class isn't in {subset}, so its accuracy won't be measured there"
        yield Problem("warning", "classes", f"{train.root}/{name}", message)


def loose_images(root: Path) -> list[str]:
    """Return the sorted paths of images directly in ``root``, beside its class folders."""
    return sorted(str(entry) for entry in root.iterdir() if is_image(entry.name) and entry.is_file())


def other_files(root: Path) -> Iterator[str]:
    """Yield the sorted paths of files that are not images by their names, except hidden files and links to folders.

    Args:
        root: Folder that is searched with its subfolders.
    """
    for where, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (f"{where}/{name}" for name in sorted(files) if not is_image(name) and not name.startswith("."))

"""Checks of the layout of class folders, without opening images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from msgformer.data.files.folder import (
    TRAIN_NAMES,
    VAL_NAMES,
    Listing,
    find_images,
    find_subset,
    is_image,
    require_folder,
    subfolders,
)
from msgformer.data.problems import Problem
from msgformer.model_names import nearest


def survey_folder(path: str) -> tuple[dict[str, Listing], list[Problem]]:
    """List the images of a data folder by subset ("train" and "val", or "all"), with problems of its layout.

    Raises:
        UserError: The folder does not exist.
    """
    root = require_folder(path)
    train, val = find_subset(root, TRAIN_NAMES), find_subset(root, VAL_NAMES)
    problems: list[Problem] = []
    if train is None and val is not None and len(subfolders(root)) > 1:
        message = f"there is no train/, so {val.name}/ is taken as a class; add train/ if it holds validation images"
        problems.append(Problem("warning", "layout", str(root), message))
        val = None
    elif (train is None) != (val is None):
        there, missing = (train, "val") if train else (val, "train")
        assert there is not None
        message = f"there is {there.name}/ but no {missing}/; add it, or move the class folders up"
        problems.append(Problem("error", "layout", str(root), message))
    subsets = {"train": train, "val": val} if train or val else {"all": root}
    listings = {subset: _list(folder, problems) for subset, folder in subsets.items() if folder}
    for subset, listing in listings.items():
        problems += _class_problems(listing, is_split=subset == "all")
    if len(listings) == 2:
        problems += _differences(listings["train"], listings["val"])
    return listings, problems


def _list(root: Path, problems: list[Problem]) -> Listing:
    """List the images in the class folders of ``root``, and add problems of the folders to ``problems``."""
    classes = subfolders(root)
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = find_images(root / name)
        if not images:
            message = "the class folder holds no images; fill it or remove it"
            problems.append(Problem("error", "empty class", str(root / name), message))
        names += [f"{name}/{image}" for image in images]
        labels += [label] * len(images)
    loose = sorted(entry.name for entry in root.iterdir() if is_image(entry.name) and entry.is_file())
    lost = "the image is in no class folder and isn't used; move it to one"
    problems += [Problem("warning", "image without class", str(root / name), lost) for name in loose]
    ignored = "not an image by its name, so it is ignored"
    problems += [Problem("note", "other file", path, ignored) for path in _other_files(root)]
    return Listing(str(root), tuple(names), tuple(labels), tuple(classes))


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


def _differences(train: Listing, val: Listing) -> Iterator[Problem]:
    """Yield classes that only one subset has."""
    for name in sorted(set(val.classes) - set(train.classes)):
        message = f"the class isn't in training{nearest(name, train.classes)}; rename or remove the folder"
        yield Problem("error", "classes", f"{val.root}/{name}", message)
    for name in sorted(set(train.classes) - set(val.classes)):
        message = "the class isn't in validation, so its accuracy won't be measured"
        yield Problem("warning", "classes", f"{train.root}/{name}", message)


def _other_files(root: Path) -> Iterator[str]:
    """Yield the sorted paths of files that are not images by their names, except hidden files and links to folders."""
    for where, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (f"{where}/{name}" for name in sorted(files) if not is_image(name) and not name.startswith("."))

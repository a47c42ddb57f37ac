"""Layout of labeled image folders: which of them hold the training, the validation and the test images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgformer.data.files.folder import (
    Listing,
    class_folders,
    class_name,
    has_images,
    holds_images,
    ignored_folders,
    list_classes,
    require_folder,
    subfolders,
)
from msgformer.errors import UserError, shown

SUBSET_NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst"),
}
"""Names of each subset in order of preference, without the words around them that `subset_of` ignores."""

IMAGE_FOLDERS = frozenset({"images", "image", "imgs", "img", "photos", "pictures"})
"""Names of folders that only wrap images or subsets, in lower case."""


@dataclass(frozen=True)
class FolderLayout:
    """Folders of the subsets of a dataset, each with one subfolder per class.

    Attributes:
        train: Training images, or all images if there is no other subset; None if only other subsets were found.
        val: Validation images; where there are none, those of a test folder.
        test: Test images that are not used for validation.
        notes: What was left out or decided, one line each.
    """

    train: Path | None = None
    val: Path | None = None
    test: Path | None = None
    notes: tuple[str, ...] = ()


def subset_of(name: str) -> str | None:
    """Return the subset that the name of a folder or split stands for: "train", "val", "test", or None.

    Upper case, separators, a year and words around it don't matter: TRAIN, seg_train, training-set, val2017.
    """
    return next((subset for subset, bases in SUBSET_NAMES.items() for base in bases if _is_named(name, base)), None)


def _is_named(name: str, base: str) -> bool:
    word = re.sub(r"[\W_]+", "", name.lower())
    return bool(re.fullmatch(rf"(seg)?{base}(set|data|images|imgs|split|folder)?((19|20)\d\d)?", word))


def pick_subset(names: Iterable[str], subset: str) -> str | None:
    """Return the name of a subset, or None; of several, the one that comes first in `SUBSET_NAMES`.

    Args:
        names: Names to choose from.
        subset: "train", "test", or "val", for which test images serve as well.
    """
    given = list(names)
    bases = (*SUBSET_NAMES["val"], *SUBSET_NAMES["test"]) if subset == "val" else SUBSET_NAMES[subset]
    return next((name for base in bases for name in given if _is_named(name, base)), None)


def find_subset(root: Path, subset: str) -> Path | None:
    """Return the subfolder of a subset, or None.

    Args:
        root: The folder; it need not exist.
        subset: As of `pick_subset`.
    """
    name = pick_subset(subfolders(root), subset) if root.is_dir() else None
    return None if name is None else root / name


def find_subset_folders(root: Path) -> dict[str, Path]:
    """Return the subfolders of the subsets "train", "val" and "test", as far as there are any.

    Args:
        root: The folder; it need not exist.
    """
    names = subfolders(root) if root.is_dir() else []
    found = {}
    for subset, bases in SUBSET_NAMES.items():
        name = next((name for base in bases for name in names if _is_named(name, base)), None)
        if name is not None:
            found[subset] = root / name
    return found


def find_layout(path: str | Path, classes: Sequence[str] | None = None) -> FolderLayout:
    """Find the folders of the subsets.

    A folder with the name of a subset and with class folders makes a split, together with at least one more such. It
    may be wrapped once, as in ``images/train`` or ``seg_train/seg_train``. Otherwise the folder, or the only one in it,
    holds the class folders.

    Args:
        path: The data folder.
        classes: Names of the classes if they are known: a folder whose subfolders are all classes has no subsets.

    Raises:
        UserError: The folder does not exist, or its layout is ambiguous.
    """
    root = require_folder(path)
    notes = [f"{shown(root / name)} is ignored" for name in ignored_folders(root)]
    found = _non_empty(root)
    if classes is not None and found and {*map(class_name, found)} <= {*map(class_name, classes)}:
        return FolderLayout(root, notes=tuple(notes))
    wrapped = [root / name for name in found if len(found) == 1 or name.lower() in IMAGE_FOLDERS]
    for place in (root, *(folder for folder in wrapped if not holds_images(folder))):
        if (layout := _find_split(place, notes)) is not None:
            return layout
    only = wrapped[0] if len(found) == 1 and wrapped else None
    if only and not holds_images(only) and len(_non_empty(only)) > 1 and not (classes and only.name in classes):
        notes.append(f"the class folders are those in {shown(only)}")
        root = only
    _check_classes(root)
    return FolderLayout(root, notes=tuple(notes))


def _find_split(root: Path, notes: Sequence[str]) -> FolderLayout | None:
    """Return the split of a folder into subsets, or None if it has none."""
    folders = _non_empty(root)
    by_subset: dict[str, Path] = {}
    for name in folders:
        subset, place = subset_of(name), _unwrap(root / name)
        if subset is None or not _has_class_folders(place):
            continue
        if subset in by_subset:
            first = by_subset[subset].relative_to(root).parts[0]
            raise UserError(
                f"{shown(root)} has {shown(first)}/ and {shown(name)}/, which both look like {subset} images; rename or"
                " move one of them"
            )
        by_subset[subset] = place
    used = {place.relative_to(root).parts[0] for place in by_subset.values()}
    others = [name for name in folders if name not in used]
    if not by_subset or (len(by_subset) == 1 and not _is_alone(root, by_subset, others)):
        return None
    left_out = [f"{shown(root / name)} is left out: {_reason(root / name)}" for name in others]
    train, val, test = (by_subset.get(subset) for subset in SUBSET_NAMES)
    if val is None and test is not None:
        val, test = test, None
        left_out.append(f"{shown(val)} is used for validation, since there is no other such folder")
    if train is not None and val is None:
        left_out.append(f"{shown(train)} is split into training and validation images, since there is no val/")
    return FolderLayout(train, val, test, (*notes, *left_out))


def _is_alone(root: Path, by_subset: dict[str, Path], others: Sequence[str]) -> bool:
    """Return whether a single subset is one, rather than a class among other classes.

    Raises:
        UserError: This can't be told.
    """
    if all(subset_of(name) for name in others):
        return True
    ((subset, place),) = by_subset.items()
    if subset != "train":
        return False
    raise UserError(
        f"{shown(root)} has {shown(place.name)}/ with class folders, but no val/ or test/ with some, beside"
        f" {shown(others[0])}/; add val/, or give --data {shown(place)} to split that"
    )


def _reason(folder: Path) -> str:
    flat = holds_images(folder)
    return "its images have no labels" if flat else "its name is not that of a subset"


def _unwrap(folder: Path) -> Path:
    """Return the folder of the same subset inside a subset's folder, as in seg_train/seg_train, or the folder."""
    inside = _non_empty(folder)
    if len(inside) != 1 or holds_images(folder):
        return folder
    is_wrapper = subset_of(inside[0]) == subset_of(folder.name) or inside[0].lower() in IMAGE_FOLDERS
    return folder / inside[0] if is_wrapper else folder


def _has_class_folders(folder: Path) -> bool:
    """Return whether images lie in the subfolders of a folder; a few beside several subfolders don't matter."""
    return len(_non_empty(folder)) > (1 if holds_images(folder) else 0)


def _non_empty(folder: Path) -> list[str]:
    """Return the names of the subfolders with images in them or below."""
    return [name for name in subfolders(folder) if has_images(folder / name)]


def _check_classes(root: Path) -> None:
    """Check that class folders don't hold the same folders each, which then are the classes or subsets.

    Raises:
        UserError: They do; the message names them.
    """
    folders = _non_empty(root)
    inside = {tuple(_non_empty(root / name)) for name in folders if not holds_images(root / name)}
    if len(folders) < 2 or len(inside) != 1 or any(holds_images(root / name) for name in folders):
        return
    (names,) = inside
    if len(names) > 1 or names[0].lower() not in IMAGE_FOLDERS:
        outer, inner = (", ".join(f"{shown(name)}/" for name in group) for group in (folders[:3], names[:3]))
        raise UserError(
            f"{shown(root)}: {outer}{' ...' * (len(folders) > 3)} hold no images but all the same folders ({inner}); if"
            " those are the classes, move them to train/ and val/, and if not, move the images up to the class folders"
        )


def find_subsets(path: str | Path) -> FolderLayout:
    """Find the folders of a dataset to train on, and check their classes without listing all images.

    Args:
        path: Folder with subsets, each with one subfolder per class, or with class folders only.

    Raises:
        UserError: As of `find_layout` and `class_folders`, or there are no training images.
    """
    layout = find_layout(path)
    if layout.train is None:
        assert layout.val is not None
        raise UserError(f"{shown(path)} has {layout.val.name}/ but no train/; add it, or move the class folders up")
    classes = class_folders(layout.train)
    for folder in (layout.val, layout.test):
        if folder is not None:
            class_folders(folder, [*classes])
    return layout


def list_subsets(path: str | Path, classes: Sequence[str] | None = None) -> tuple[Listing, Listing | None]:
    """List the training and the validation images of a data folder, as of `find_subsets`.

    Args:
        path: The data folder.
        classes: Order of the classes; by default natural order.
    """
    layout = find_subsets(path)
    assert layout.train is not None
    training = list_classes(layout.train, classes)
    return training, None if layout.val is None else list_classes(layout.val, training.classes)


def is_test_folder(folder: Path, root: Path) -> bool:
    """Return whether a folder of validation images is really one of test images, by its name.

    Args:
        folder: The folder, inside ``root``.
        root: The data folder.
    """
    return any(subset_of(part) == "test" for part in folder.relative_to(root).parts)

"""Finds the annotation files of datasets in COCO's format, by whichever tool wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from msgformer.data.detection.image_finder import ImageFinder
from msgformer.data.files.folder import subfolders
from msgformer.data.files.layout import IMAGE_FOLDERS, SUBSET_NAMES, find_subset_folders, subset_of
from msgformer.errors import UserError, shown

OTHER_TASKS = ("captions", "image_info", "panoptic", "person_keypoints", "stuff")
"""Starts of the names of COCO's files for other tasks."""

ANNOTATION_FOLDERS = frozenset({"annotations", "annotation", "labels"})
"""Names of folders of annotation files, in lower case."""

MAX_FILES = 100
"""Largest number of JSON files in a folder of COCO's format; more of them are one per image, as LabelMe writes."""


@dataclass(frozen=True)
class CocoFiles:
    """Annotation files of a data set.

    Attributes:
        root: The data folder.
        subsets: The file of each subset; "all" if there are no subsets.
        images: Folder of the images if it is given explicitly.
    """

    root: Path
    subsets: Mapping[str, Path]
    images: Path | None = None

    def finder(self, subset: str) -> ImageFinder:
        """Return the finder of a subset's images.

        Names are relative to the folder of the subset, to that of the annotation file, to the folder above, to the data
        folder, or to images/.

        Args:
            subset: A key of ``subsets``.
        """
        if self.images is not None:
            inside = find_subset_folders(self.images)
            others = [folder for name, folder in inside.items() if subset not in ("all", name)]
            places = [inside[subset], self.images] if subset in inside else [self.images]
            return ImageFinder(self.images, places, others)
        file = self.subsets[subset]
        wraps = [self.root / name for name in subfolders(self.root) if name.lower() in IMAGE_FOLDERS | {"data"}]
        folders = [find_subset_folders(place) for place in (self.root, *wraps)]
        others = [folder for found in folders for name, folder in found.items() if subset not in ("all", name)]
        own = (file.stem.removeprefix("instances_"), file.parent.name if subset_of(file.parent.name) else subset)
        named = [place / name for name in own for place in (self.root, self.root / "images") if (place / name).is_dir()]
        of_subset = [found[subset] for found in folders if subset in found]
        near = [file.parent, *(file.parent / name for name in ("images", "data")), file.parent.parent]
        return ImageFinder(self.root, [*named, *of_subset, *near, self.root, *wraps], others)


def find_coco(place: Path, images: Path | None = None) -> CocoFiles | None:
    """Find the annotation files of a data set, or return None.

    Args:
        place: The data folder, or one annotation file.
        images: Folder of the images if it is given explicitly.

    Raises:
        UserError: There are several files for a subset.
    """
    if place.is_file():
        is_inside = place.parent.name.lower() in ANNOTATION_FOLDERS
        root = images or (place.parent.parent if is_inside else place.parent)
        return CocoFiles(root, {"all": place}, images)
    root = place if images is None else images
    by_subset: dict[str, list[Path]] = {subset: [] for subset in (*SUBSET_NAMES, "all")}
    for path in _json_files(place):
        if (subset := _subset(path, place)) is not None:
            by_subset[subset].append(path)
    found = {subset: _single(place, subset, paths) for subset, paths in by_subset.items() if paths}
    if len(found) > 1:
        found.pop("all", None)  # a file of all images beside those of the subsets
    return CocoFiles(root, found, images) if found else None


def _json_files(root: Path) -> Iterator[Path]:
    """Yield the JSON files in which annotations may be: those of COCO's other tasks are left out."""
    folders = [root]
    for name in subfolders(root):
        if name.lower() in ANNOTATION_FOLDERS or subset_of(name):
            folders.append(root / name)
    groups = [sorted(folder.glob("*.json")) for folder in folders]
    files = [path for group in groups if len(group) <= MAX_FILES for path in group]
    exported = [path for path in sorted(root.glob("*/_annotations.coco.json")) if path not in files]
    for path in (*files, *exported):
        if not path.name.startswith(OTHER_TASKS):
            yield path


def _subset(path: Path, root: Path) -> str | None:
    """Return the subset that the name of a file or of its folder stands for, or "all"; None for other JSON files."""
    name = path.stem.removeprefix("instances_")
    if path.name.startswith("instances_") or subset_of(name):
        return None if _is_labelme(path) else subset_of(name) or _subset_in(name) or "all"
    if not _is_coco(path):
        return None
    if path.parent != root and path.parent.name.lower() not in ANNOTATION_FOLDERS:
        return subset_of(path.parent.name) or "all"
    return _subset_in(name) or "all"


def _subset_in(name: str) -> str | None:
    """Return the subset that a word of a name stands for, or None."""
    found = {subset for word in re.split(r"[\W_]+", name) if (subset := subset_of(word))}
    return found.pop() if len(found) == 1 else None


def _single(root: Path, subset: str, paths: list[Path]) -> Path:
    """Return the only file of a subset, or the only one with COCO's own name.

    Raises:
        UserError: There are several.
    """
    official = [path for path in paths if path.name.startswith("instances_")]
    best = official if official else paths
    if len(best) == 1:
        return best[0]
    names = ", ".join(path.relative_to(root).as_posix() for path in best)
    what = "all images" if subset == "all" else subset
    raise UserError(
        f"{shown(root)} has several files for {what}: {names}; keep one, or give it with --data.annotations FILE"
    )


def _is_coco(path: Path) -> bool:
    """Return whether a JSON file may be in COCO's format, without parsing it."""
    content = path.read_bytes()
    return b'"images"' in content and b'"annotations"' in content


def _is_labelme(path: Path) -> bool:
    content = path.read_bytes()
    return b'"shapes"' in content and b'"imagePath"' in content

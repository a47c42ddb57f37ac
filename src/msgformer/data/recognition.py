"""Recognition of the task that a dataset is for, by the names of files and the first bytes of annotations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from msgformer.data.detection.yolo import find_config
from msgformer.data.files.folder import has_images, subfolders
from msgformer.data.files.layout import IMAGE_FOLDERS, SUBSET_NAMES, find_layout, find_subset, subset_of
from msgformer.data.files.locations import FOLDER, TABLE, find_labels
from msgformer.data.segmentation.cityscapes import is_cityscapes
from msgformer.data.segmentation.sets import FOLDER_PAIRS
from msgformer.errors import UserError

HEAD_BYTES = 65_536
"""Number of bytes at the start of a JSON file that are searched for the keys of an annotation format."""

MAX_JSON_FILES = 20
"""Number of JSON files per folder that are opened; in LabelMe's format there is one per image."""

JSON_FORMATS = {
    "COCO": re.compile(rb'"(annotations|images|categories)"\s*:\s*\['),
    "LabelMe": re.compile(rb'"(shapes|imagePath)"\s*:'),
}
"""A key at the start of the files of each annotation format."""

COCO_NAMES = re.compile(r"instances_.*|.*\.?coco")
"""Stems of files in COCO's format, of which a large one may start with any key."""

DENSE_FOLDERS = frozenset(
    {"annotations", "jpegimages", "segmentationclass", "segmentationobject", "imagesets", "leftimg8bit", "gtfine"}
)
"""Names of folders in layouts of detection and segmentation, in lower case."""


def classification_layout(data: str) -> str | None:
    """Return the name of a classification dataset's layout, or None if it isn't one.

    In data of other tasks, the folders of subsets, images and annotations are no class folders.

    Args:
        data: A folder or ``SCHEME:LOCATION``, as `resolve_data` returns it.
    """
    location = find_labels(data)
    if location.scheme == TABLE:
        return f"table of labels ({Path(location.path).name})"
    if location.scheme != FOLDER:
        return {"tar": "tar files", "wds": "WebDataset shards", "hfds": "Hugging Face dataset"}.get(
            location.scheme, str(location)
        )
    root = Path(location.path)
    is_dense = bool(detection_layout(data) or segmentation_layout(data))
    try:
        layout = find_layout(root)
    except UserError:  # it looks like class folders, but is ambiguous: the survey names the problem
        return None if is_dense else "class folders"
    folder = layout.train or layout.val
    assert folder is not None
    classes = [name for name in subfolders(folder) if has_images(folder / name)]
    wrappers = {part.lower() for part in folder.relative_to(root).parts}
    if not classes or (is_dense and (wrappers & IMAGE_FOLDERS or all(map(_is_structural, classes)))):
        return None
    found = {"train": layout.train, "val": layout.val, "test": layout.test}
    subsets = [f"{place.relative_to(root).as_posix()}/" for place in found.values() if place and place != root]
    return f"class folders in {', '.join(subsets)}" if subsets else "class folders"


def detection_layout(data: str) -> str | None:
    """Return the name of a detection dataset's annotation format, or None if there are no annotations.

    Args:
        data: As of `classification_layout`.
    """
    root = Path(data)
    if not root.is_dir():
        return None
    if (root / "Annotations").is_dir() and any((root / "Annotations").glob("*.xml")):
        return "Pascal VOC"
    if find_config(root) is not None or any(_yolo_labels(root)):
        return "YOLO"
    for folder in (root, *(root / name for name in subfolders(root))):
        for path in islice(sorted(folder.glob("*.json")), MAX_JSON_FILES):
            if (found := _json_format(path)) is not None:
                return found
    return None


def segmentation_layout(data: str) -> str | None:
    """Return the name of a segmentation dataset's layout, or None if there are no folders of label maps.

    Args:
        data: As of `classification_layout`.
    """
    root = Path(data)
    if not root.is_dir():
        return None
    if is_cityscapes(root):
        return "Cityscapes"
    for folder in (root, *_subset_folders(root)):
        for images, maps in FOLDER_PAIRS:
            if all((folder / name).is_dir() and has_images(folder / name) for name in (images, maps)):
                return f"{images}/ and {maps}/"
    return None


def _is_structural(name: str) -> bool:
    words = {word for pair in FOLDER_PAIRS for word in pair} | IMAGE_FOLDERS | DENSE_FOLDERS
    return subset_of(name) is not None or name.lower() in words


def _subset_folders(root: Path) -> list[Path]:
    return [folder for subset in SUBSET_NAMES if (folder := find_subset(root, subset)) is not None]


def _yolo_labels(root: Path) -> Iterator[Path]:
    """Yield the text files in folders ``labels``, or in those of subsets below them."""
    for place in (folder / "labels" for folder in (root, *_subset_folders(root))):
        yield from (*place.glob("*.txt"), *place.glob("*/*.txt"))


def _json_format(path: Path) -> str | None:
    """Return the annotation format of a JSON file, or None."""
    if COCO_NAMES.fullmatch(path.stem):
        return "COCO"
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES).replace(b"\0", b"")  # UTF-16 has zero bytes in between
    except OSError:
        return None
    return next((name for name, key in JSON_FORMATS.items() if key.search(head)), None)

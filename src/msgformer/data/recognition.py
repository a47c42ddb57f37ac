"""Recognition of the task that a dataset is for, by the names of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from msgformer.data.detection.coco_files import find_coco
from msgformer.data.detection.labelme import find_labelme
from msgformer.data.detection.voc import find_voc, find_voc_exports
from msgformer.data.detection.yolo import find_config, find_yolo_exports
from msgformer.data.files.folder import has_images, subfolders
from msgformer.data.files.layout import IMAGE_FOLDERS, SUBSET_NAMES, find_layout, find_subset, subset_of
from msgformer.data.files.locations import FOLDER, TABLE, CocoLocation, find_labels
from msgformer.data.segmentation.cityscapes import is_cityscapes
from msgformer.data.segmentation.sets import FOLDER_PAIRS
from msgformer.errors import UserError

DETECTION_FORMATS: tuple[tuple[str, Callable[[Path], object]], ...] = (
    ("Pascal VOC", find_voc),
    ("YOLO", find_config),
    ("COCO", find_coco),
    ("LabelMe", find_labelme),
    ("Pascal VOC", find_voc_exports),
    ("YOLO", find_yolo_exports),
)
"""Functions that find the annotation files of each format, in the order of `find_readers`."""

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
    if CocoLocation.parse(data) is not None:
        return None
    location = find_labels(data)
    if location.scheme == TABLE:
        return f"table of labels ({Path(location.path).name})"
    if location.scheme != FOLDER:
        return {"tar": "tar files", "wds": "WebDataset shards", "hfds": "Hugging Face dataset"}.get(
            location.scheme, str(location)
        )
    root = Path(location.path)
    try:
        layout = find_layout(root)
    except UserError:  # it looks like class folders, but is ambiguous: the survey names the problem
        return None if _is_dense(data) else "class folders"
    folder = layout.train or layout.val
    assert folder is not None
    classes = [name for name in subfolders(folder) if has_images(folder / name)]
    is_wrapped = any(part.lower() in IMAGE_FOLDERS for part in folder.relative_to(root).parts)
    is_doubtful = is_wrapped or len(classes) < 2 or all(map(_is_structural, classes))
    if not classes or (is_doubtful and _is_dense(data)):
        return None
    found = {"train": layout.train, "val": layout.val, "test": layout.test}
    subsets = [f"{place.relative_to(root).as_posix()}/" for place in found.values() if place and place != root]
    return f"class folders in {', '.join(subsets)}" if subsets else "class folders"


def detection_layout(data: str) -> str | None:
    """Return the name of a detection dataset's annotation format, or None if there are no annotations.

    Args:
        data: As of `classification_layout`.
    """
    if CocoLocation.parse(data) is not None:
        return "COCO"
    root = Path(data)
    if not root.is_dir():
        return None
    for name, find in DETECTION_FORMATS:
        try:
            found = find(root)
        except UserError:  # the format is clear, but a part is missing: reading the data names the problem
            return name
        if found is not None:
            return name
    return "YOLO" if any(_yolo_labels(root)) else None


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


def _is_dense(data: str) -> bool:
    return bool(detection_layout(data) or segmentation_layout(data))


def _is_structural(name: str) -> bool:
    words = {word for pair in FOLDER_PAIRS for word in pair} | IMAGE_FOLDERS | DENSE_FOLDERS
    return subset_of(name) is not None or name.lower() in words


def _subset_folders(root: Path) -> list[Path]:
    return [folder for subset in SUBSET_NAMES if (folder := find_subset(root, subset)) is not None]


def _yolo_labels(root: Path) -> Iterator[Path]:
    """Yield the text files in folders ``labels``, or in those of subsets below them."""
    for place in (folder / "labels" for folder in (root, *_subset_folders(root))):
        yield from (*place.glob("*.txt"), *place.glob("*/*.txt"))

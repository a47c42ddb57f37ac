"""Lists of images in COCO's format, whose annotations may be empty or missing, such as those of test-dev."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgformer.data.detection.coco_files import ANNOTATION_FOLDERS, CocoFiles
from msgformer.errors import UserError, shown


@dataclass(frozen=True)
class ImageList:
    """Images to predict, with the ids for a results file.

    Attributes:
        paths: Path per image; a missing file has the path where it is expected.
        ids: Id per image.
        categories: Category id per class name, if the file has categories.
    """

    paths: list[str]
    ids: list[int]
    categories: dict[str, int] = field(default_factory=dict)


def is_image_list(place: object) -> bool:
    """Return whether the input of a prediction is a JSON file."""
    return isinstance(place, str | Path) and str(place).lower().endswith(".json") and Path(place).is_file()


def read_image_list(file: Path) -> ImageList:
    """Read the images of a JSON file in COCO's format.

    Args:
        file: The file; names of images are resolved as in training.

    Raises:
        UserError: The file isn't in COCO's format, or an id is used twice.
    """
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"images: {shown(str(file))} isn't valid JSON ({error}); export it again") from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images:
        raise UserError(f"images: {shown(str(file))} has no list 'images'; give a file in COCO's format")
    for position, one in enumerate(images):
        if not isinstance(one, dict) or not isinstance(one.get("id"), int) or not isinstance(one.get("file_name"), str):
            raise UserError(
                f"images: images[{position}] in {shown(str(file))} lacks a numeric 'id' or a 'file_name'; add them"
            )
    ids = [one["id"] for one in images]
    if len(set(ids)) < len(ids):
        raise UserError(f"images: two images in {shown(str(file))} have the same id; number them anew")
    subset = file.stem.removeprefix("image_info_").removeprefix("instances_")
    root = file.parent.parent if file.parent.name.lower() in ANNOTATION_FOLDERS else file.parent
    finder = CocoFiles(root, {subset: file}).finder(subset)
    paths = [str(finder.find(one["file_name"]) or finder.missing(one["file_name"])) for one in images]
    listed = content.get("categories")
    categories = {
        one["name"]: one["id"]
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("id"), int)
    }
    return ImageList(paths, ids, categories)


def number_images(names: list[str]) -> list[int]:
    """Return an id per image of a folder: the number that is its name, as in COCO, or else its position from 1.

    Args:
        names: Paths of the images.
    """
    stems = [Path(name).stem for name in names]
    numbers = [int(stem) for stem in stems if stem.isascii() and stem.isdigit()]
    return numbers if len(set(numbers)) == len(names) else list(range(1, len(names) + 1))

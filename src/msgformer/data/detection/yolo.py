"""Datasets in the layout of Ultralytics' YOLO: data.yaml, and one text file of labels per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgformer.config.recipes import load_yaml
from msgformer.data.detection.instances import AnnotatedImage, Box, Instance, InstanceSet
from msgformer.data.files.folder import find_images
from msgformer.data.files.images import displayed_size, open_image
from msgformer.data.files.layout import find_subset_folders
from msgformer.data.problems import Problem, Severity
from msgformer.errors import UserError, shown

CONFIG_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASS_FILES = ("classes.txt", "obj.names", "labels/classes.txt")
"""Files of class names, one per line, in data sets without a configuration."""

KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""Keys of the subsets, in order of preference."""


@dataclass(frozen=True)
class YoloConfig:
    """Classes and images of a data set.

    Attributes:
        path: The file that names them.
        classes: Names of the classes, by their numbers from 0.
        images: Paths of the images per subset: "train", "val" and "test", or "all" without subsets.
    """

    path: Path
    classes: tuple[str, ...]
    images: dict[str, list[Path]]


def find_config(root: Path) -> Path | None:
    """Return the data.yaml of a folder, or None."""
    return next((path for name in CONFIG_FILES if (path := root / name).is_file()), None)


def read_config(path: Path) -> YoloConfig:
    """Read data.yaml, and list the images of the subsets.

    Raises:
        UserError: It is no YAML, or lacks names, training images or the images of a subset.
    """
    content = load_yaml(path)
    classes = _class_names(path, content.get("names"))
    base = path.parent / str(content.get("path") or "")
    images = {}
    for subset, keys in KEYS.items():
        places = next((content[key] for key in keys if content.get(key)), None)
        if places is None:
            continue
        listed = places if isinstance(places, list) else [places]
        images[subset] = [image for place in listed for image in _list_images(path, base, str(place))]
        if not images[subset]:
            raise UserError(f"{shown(path)}: there are no images in {subset}: {shown(places)}; correct the path")
    if "train" not in images:
        raise UserError(f"{shown(path)} has no train; give the folder of its images")
    return YoloConfig(path, classes, images)


def find_yolo_exports(root: Path) -> YoloConfig | None:
    """Return the classes and images of a folder with a list of class names instead of data.yaml, or None.

    Args:
        root: Folder with ``classes.txt`` or ``obj.names``, and with text files of labels as of `label_file`.

    Raises:
        UserError: A class is named twice.
    """
    path = next((root / name for name in CLASS_FILES if (root / name).is_file()), None)
    if path is None:
        return None
    place = root / "images" if (root / "images").is_dir() else root
    subsets = find_subset_folders(place) or {"all": place}
    images = {subset: [folder / name for name in find_images(folder)] for subset, folder in subsets.items()}
    labeled = {subset: [one for one in found if label_file(one).is_file()] for subset, found in images.items()}
    if not any(labeled.values()):
        return None
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    classes = _class_names(path, [line.strip() for line in lines if line.strip()])
    return YoloConfig(path, classes, {subset: found for subset, found in images.items() if found})


def read_yolo(root: Path, config: YoloConfig, subset: str) -> tuple[InstanceSet, list[Problem]]:
    """Read the images and objects of one subset, and find their problems.

    Args:
        root: The data folder.
        config: From `read_config`.
        subset: A key of the images of ``config``.

    Returns:
        The valid images, and the problems; if one of them is an error, the data must not be used for training.
    """
    reader = _Reader(config)
    found = [image for number, path in enumerate(config.images[subset], 1) if (image := reader.image(number, path))]
    return InstanceSet(root, found, config.classes, range(1, len(config.classes) + 1)), reader.problems


def _class_names(path: Path, names: object) -> tuple[str, ...]:
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise UserError(f"{shown(path)} has no names; list the names of the classes, in the order of their numbers")
    found = tuple(map(str, names))
    if doubled := next((name for name in found if found.count(name) > 1), None):
        raise UserError(f"{shown(path)} names the class {doubled!r} twice; rename or merge them")
    return found


def _list_images(config: Path, base: Path, place: str) -> list[Path]:
    """Return the images of a folder or of a text file that lists them."""
    # Roboflow's paths start above the folder of data.yaml, although the images lie in it.
    candidates = [base / place, config.parent / place, config.parent / place.removeprefix("../")]
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        raise UserError(f"{shown(config)}: there is no {shown(candidates[0])}; correct the path")
    if found.is_dir():
        return [found / name for name in find_images(found)]
    lines = found.read_text(encoding="utf-8-sig").splitlines()
    return [found.parent / line.strip() for line in lines if line.strip()]


def label_file(image: Path) -> Path:
    """Return the file of an image's labels: below ``labels`` instead of ``images``, or beside it."""
    parts = [*image.parts]
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            return Path(*parts).with_suffix(".txt")
    return image.with_suffix(".txt")


class _Reader:
    """Reads the label files of one subset and records their problems."""

    def __init__(self, config: YoloConfig) -> None:
        self.classes, self.source = config.classes, config.path.name
        self.problems: list[Problem] = []
        self.num_objects = 0

    def note(self, severity: Severity, kind: str, path: Path, message: str) -> None:
        self.problems.append(Problem(severity, kind, str(path), message))

    def image(self, number: int, path: Path) -> AnnotatedImage | None:
        """Return one image with its objects, or None if it is invalid."""
        try:
            with open_image(str(path)) as image:
                size = displayed_size(image)
        except UserError as error:
            self.note("error", "unreadable image", path, str(error))
            return None
        labels = label_file(path)
        lines = labels.read_text(encoding="utf-8-sig").splitlines() if labels.is_file() else []
        found = [self._instance(labels, place, line, size) for place, line in enumerate(lines, 1) if line.strip()]
        instances = tuple(one for one in found if one is not None)
        if not instances:
            message = "no object is annotated in it; it isn't trained on, and scored as an empty image"
            self.note("note", "no annotations", path, message)
        return AnnotatedImage(number, str(path), *size, instances)

    def _instance(self, path: Path, place: int, line: str, size: tuple[int, int]) -> Instance | None:
        try:
            number, *values = [float(word) for word in line.split()]
        except ValueError:
            number, values = -1.0, []
        is_polygon = len(values) >= 6 and len(values) % 2 == 0
        if len(values) != 4 and not is_polygon:
            what = "needs a class and x y width height, or a polygon of at least 3 points, in numbers"
            self.note("error", "label", path, f"line {place} {what}")
            return None
        if number not in range(len(self.classes)):
            known = f"{self.source} names {len(self.classes)} classes, from 0"
            self.note("error", "unknown category", path, f"line {place} has class {number:g}, but {known}")
            return None
        if not all(-0.01 <= value <= 1.01 for value in values):
            self.note("error", "label", path, f"line {place} has coordinates outside 0..1, the fractions of the image")
            return None
        self.num_objects += 1
        polygon = [value * size[index % 2] for index, value in enumerate(values)] if is_polygon else None
        box = _bounds(polygon) if polygon else _box(values, size)
        masks: Any = [polygon] if polygon else None
        return Instance(self.num_objects, int(number) + 1, box, box[2] * box[3], segmentation=masks)


def _bounds(polygon: Sequence[float]) -> Box:
    left, top = min(polygon[::2]), min(polygon[1::2])
    return left, top, max(polygon[::2]) - left, max(polygon[1::2]) - top


def _box(values: Sequence[float], size: tuple[int, int]) -> Box:
    x, y, width, height = (value * size[index % 2] for index, value in enumerate(values))
    return x - width / 2, y - height / 2, width, height

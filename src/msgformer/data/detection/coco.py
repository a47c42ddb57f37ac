"""Reading and checking of annotation files in COCO's format.

Irregularities that COCO's tools and published detectors tolerate are reported as warnings or notes. Those that would
cause a crash or a wrong result are errors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgformer.data.detection.image_finder import ImageFinder
from msgformer.data.detection.instances import AnnotatedImage, Box, Instance, InstanceSet
from msgformer.data.files.images import displayed_size, open_image
from msgformer.data.problems import Problem, Severity
from msgformer.errors import UserError
from msgformer.utils.rle import is_polygon, segmentation_problem

KEYS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "categories": {"id": int, "name": str},
    "images": {"id": int, "file_name": str},
    "annotations": {"id": int, "image_id": int, "category_id": int, "bbox": list},
}
"""Required keys of the entries of an annotation file, with their types."""

MAX_OVERHANG = 1.0
"""Pixels by which a box or polygon may exceed its image without a note, to allow for rounding by annotation tools."""

NO_CROWD = (None, False, 0, "", "0", "false", "False")
"""Values of ``iscrowd`` for a single object; some tools write it as text."""


def read_coco(
    root: Path, file: Path, finder: ImageFinder, *, with_masks: bool = True
) -> tuple[InstanceSet, list[Problem]]:
    """Read the images and objects of an annotation file, and find its problems.

    Args:
        root: The data folder.
        file: The annotation file.
        finder: Finds the images.
        with_masks: Whether to read masks; otherwise they aren't looked at.

    Returns:
        The valid entries, and the problems; if one of them is an error, the data must not be used for training.
    """
    reader = _Reader(file, finder, with_masks)
    content = reader.load()
    categories = reader.categories(content)
    images = reader.images(content)
    instances = reader.instances(content, images, {number: label for label, number in enumerate(categories, 1)})
    annotated = [
        AnnotatedImage(number, one["path"], one["width"], one["height"], tuple(instances[number]))
        for number, one in images.items()
    ]
    return InstanceSet(root, annotated, list(categories.values()), list(categories)), reader.problems


class _Reader:
    """Reads the parts of one annotation file and records their problems."""

    def __init__(self, file: Path, finder: ImageFinder, with_masks: bool) -> None:
        self.file, self.finder, self.with_masks = file, finder, with_masks
        self.problems: list[Problem] = []

    def note(self, severity: Severity, kind: str, message: str, path: str | Path | None = None) -> None:
        """Add a problem of the annotation file, or of ``path`` if it is given."""
        self.problems.append(Problem(severity, kind, str(path or self.file), message))

    def load(self) -> dict[str, list[Any]]:
        """Return the lists of the file by name; missing lists are empty."""
        try:
            content = json.loads(self.file.read_text(encoding="utf-8-sig"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            what = "is empty" if self.file.stat().st_size == 0 else f"isn't valid JSON ({error})"
            self.note("error", "annotation file", f"{what}; export or download it again")
            return {key: [] for key in KEYS}
        found = content if isinstance(content, dict) else {}
        for key in KEYS:
            if not isinstance(found.get(key), list) or not found[key]:
                what = "is empty" if found.get(key) == [] else "is missing"
                self.note("error", "annotation file", f"its list {key!r} {what}; it must be in COCO's format")
        return {key: found[key] if isinstance(found.get(key), list) else [] for key in KEYS}

    def entries(self, content: dict[str, list[Any]], key: str) -> Iterator[dict[str, Any]]:
        """Yield the entries of a list that have all required keys and a unique id."""
        seen: set[int] = set()
        for position, entry in enumerate(content[key]):
            if problem := _entry_problem(entry, KEYS[key]):
                self.note("error", "annotation file", f"{key}[{position}] {problem}")
            elif entry["id"] in seen and key == "annotations":
                message = f"{key}[{position}] has the id {entry['id']} of an earlier one; both are used, numbered anew"
                self.note("warning", "doubled annotation id", message)
                yield entry
            elif entry["id"] in seen:
                self.note("error", "annotation file", f"{key}[{position}] has the id {entry['id']} of an earlier one")
            else:
                seen.add(entry["id"])
                yield entry

    def categories(self, content: dict[str, list[Any]]) -> dict[int, str]:
        """Return names by id, in the order of the ids; ids may have gaps, as in COCO itself."""
        entries = self.without_root(content, [*self.entries(content, "categories")])
        names = {entry["id"]: entry["name"] for entry in entries}
        ids = sorted(names)
        if ids and ids != list(range(ids[0], ids[0] + len(ids))):
            message = f"{len(ids)} ids between {ids[0]} and {ids[-1]}; classes are numbered without gaps for training"
            self.note("note", "category ids with gaps", message)
        for name in {name for name in names.values() if list(names.values()).count(name) > 1}:
            self.note("error", "annotation file", f"two categories have the name {name!r}; rename or merge them")
        return {number: names[number] for number in ids}

    def without_root(self, content: dict[str, list[Any]], entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Remove the category that Roboflow writes for a whole data set: it has no objects and is above all others."""
        used = {one.get("category_id") for one in content["annotations"] if isinstance(one, dict)}
        for root in entries:
            others = [one for one in entries if one is not root]
            if root["id"] not in used and others and all(one.get("supercategory") == root["name"] for one in others):
                message = f"category {root['name']!r} has no objects and is above all others; it is left out"
                self.note("note", "category above all others", message)
                return others
        return entries

    def images(self, content: dict[str, list[Any]]) -> dict[int, dict[str, Any]]:
        """Return the image entries by id, with their ``path``, and record missing files."""
        found = {}
        for entry in self.entries(content, "images"):
            path = self.path(entry["file_name"])
            width, height = self.size(entry, path)
            where = str(self.finder.missing(entry["file_name"]) if path is None else path)
            found[entry["id"]] = {**entry, "path": where, "width": width, "height": height}
        return found

    def path(self, name: str) -> Path | None:
        """Return the file of an image, and record that it is missing or that its name is ambiguous."""
        try:
            path = self.finder.find(name)
        except UserError as error:
            self.note("error", "image name", str(error))
            return None
        if path is None:
            message = f"no such image file, but {self.file} lists it; restore it or remove it there"
            self.note("error", "missing image", message, self.finder.missing(name))
        return path

    def size(self, entry: Mapping[str, Any], path: Path | None) -> tuple[int, int]:
        """Return the width and height of an image: those of its entry, or of its file if the entry lacks them."""
        sides = [entry.get(key) for key in ("width", "height")]
        width, height = (int(side) if isinstance(side, int | float) and math.isfinite(side) else 0 for side in sides)
        if min(width, height) >= 1 or path is None:
            return max(width, 1), max(height, 1)
        self.note("note", "image without size", f"image {entry['id']} has no width or height; its file's are used")
        try:
            with open_image(str(path)) as image:
                return displayed_size(image)
        except UserError as error:
            self.note("error", "unreadable image", str(error), path)
            return 1, 1

    def instances(
        self, content: dict[str, list[Any]], images: dict[int, dict[str, Any]], labels: dict[int, int]
    ) -> dict[int, list[Instance]]:
        """Return the objects of each image by the id of the image."""
        found: dict[int, list[Instance]] = {number: [] for number in images}
        for entry in self.entries(content, "annotations"):
            what = f"annotation {entry['id']}"
            if entry["image_id"] not in images:
                message = f"{what} is for image {entry['image_id']}, which isn't among the images"
                self.note("error", "annotation of no image", message)
            elif entry["category_id"] not in labels:
                message = f"{what} has category {entry['category_id']}, which isn't among the categories"
                self.note("error", "unknown category", message)
            elif (box := _box(entry["bbox"])) is None:
                self.note("error", "box", f"{what}: bbox {entry['bbox']} isn't [x, y, width, height] in finite numbers")
            else:
                image = images[entry["image_id"]]
                self.check_box(what, box, image)
                found[entry["image_id"]].append(self.instance(what, entry, box, image, labels[entry["category_id"]]))
        for number, instances in found.items():
            if not instances:
                message = "no object is annotated in it; it isn't trained on, and scored as an empty image"
                self.note("note", "no annotations", message, images[number]["path"])
        return found

    def instance(self, what: str, entry: dict[str, Any], box: Box, image: Mapping[str, Any], label: int) -> Instance:
        """Make one object, without its mask if the mask is invalid."""
        segmentation = entry.get("segmentation") if self.with_masks else None
        if segmentation is not None:
            height, width = image["height"], image["width"]
            if problem := segmentation_problem(segmentation, height, width):
                # Detectron skips objects without a valid polygon; an RLE of the wrong size means a mix-up of files.
                kind: Severity = "warning" if isinstance(segmentation, list) else "error"
                self.note(kind, "mask", f"{what}: its mask {problem}; the object isn't used where masks are needed")
                segmentation = None
            elif isinstance(segmentation, list):
                self.check_polygons(what, segmentation, (width, height))
        area = entry.get("area")
        area = float(area) if isinstance(area, int | float) else box[2] * box[3]
        return Instance(entry["id"], label, box, area, entry.get("iscrowd", 0) not in NO_CROWD, segmentation)

    def check_polygons(self, what: str, parts: list[Any], size: tuple[int, int]) -> None:
        """Record parts of a mask that are no polygons, or exceed its image."""
        polygons = [part for part in parts if is_polygon(part)]
        if len(polygons) < len(parts):
            count = len(parts) - len(polygons)
            message = f"{what}: {count} of {len(parts)} parts of its mask have fewer than 3 points and are left out"
            self.note("note", "part of a mask", message)
        if any(_exceeds(polygon, *size) for polygon in polygons):
            message = f"{what}: its mask reaches beyond the image of {size[0]} x {size[1]} pixels and is cut there"
            self.note("note", "mask larger than the image", message)

    def check_box(self, what: str, box: Box, image: Mapping[str, Any]) -> None:
        """Record a box that has no area in its image, or exceeds it."""
        x, y, width, height = box
        size = f"the image of {image['width']} x {image['height']} pixels"
        if width <= 0 or height <= 0:
            self.note("warning", "box without area", f"{what}: bbox {list(box)} has no area; it isn't trained on")
        elif x >= image["width"] or y >= image["height"] or x + width <= 0 or y + height <= 0:
            message = f"{what}: bbox {list(box)} lies outside {size}; it isn't trained on"
            self.note("warning", "box outside the image", message)
        elif _exceeds([x, y, x + width, y + height], image["width"], image["height"]):
            self.note("note", "box across the border", f"{what}: bbox {list(box)} reaches out of {size}; it is cut")


def _entry_problem(entry: object, needed: dict[str, Any]) -> str | None:
    """Return the message for an entry that lacks a needed key or has a value of another type, or None."""
    if not isinstance(entry, dict):
        return f"is {entry!r}, not a mapping"
    for key, kind in needed.items():
        if key not in entry:
            return f"lacks {key!r}"
        if not isinstance(entry[key], kind) or isinstance(entry[key], bool):
            return f"has {key!r} {entry[key]!r}, not {'a whole number' if kind is int else f'a {kind.__name__}'}"
    return None


def _box(bbox: list[Any]) -> Box | None:
    """Return a box ``x y width height``, or None if it is not four finite numbers."""
    numbers = [float(x) for x in bbox if isinstance(x, int | float) and math.isfinite(x)]
    if len(bbox) != 4 or len(numbers) != 4:
        return None
    x, y, width, height = numbers
    return x, y, width, height


def _exceeds(points: list[float], width: float, height: float) -> bool:
    """Return whether any of the points ``x1 y1 x2 y2 ...`` lies outside an image by more than `MAX_OVERHANG`."""
    xs, ys = points[::2], points[1::2]
    return min(*xs, *ys) < -MAX_OVERHANG or max(xs) > width + MAX_OVERHANG or max(ys) > height + MAX_OVERHANG

"""Datasets of LabelMe: one JSON file per image, beside it."""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from msgformer.data.detection.image_finder import ImageFinder
from msgformer.data.detection.instances import AnnotatedImage, Box, Instance, InstanceSet
from msgformer.data.files.folder import natural_order
from msgformer.data.files.images import displayed_size, open_image
from msgformer.data.files.layout import find_subset_folders
from msgformer.data.problems import Problem, Severity
from msgformer.errors import UserError
from msgformer.utils.rle import Segmentation, decode_mask, encode_masks

KEYS = ("shapes", "imagePath")
"""Keys of a LabelMe file."""

NO_CLASSES = frozenset({"__ignore__", "_background_"})
"""Labels that LabelMe reserves for regions without an object."""

OUTLINES = ("polygon", "rectangle", "circle", "mask")
"""Shapes that enclose an object."""

CIRCLE_POINTS = 64
"""Corners of the polygon that a circle becomes."""

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class LabelMeFiles:
    """Annotation files of a data set.

    Attributes:
        root: The data folder.
        subsets: The JSON files of each subset.
    """

    root: Path
    subsets: Mapping[str, Sequence[Path]]

    @cached_property
    def classes(self) -> list[str]:
        """Names of all classes in natural order; unreadable files are skipped."""
        found: set[str] = set()
        for path in itertools.chain.from_iterable(self.subsets.values()):
            found |= {_label(shape) for shape in (load_labelme(path) or {}).get("shapes", [])}
        return natural_order(found - NO_CLASSES - {""})

    def read(self, subset: str) -> tuple[InstanceSet, list[Problem]]:
        """Read the images and objects of one subset, and find its problems.

        Args:
            subset: A key of ``subsets``.

        Returns:
            The valid images, and the problems; if one of them is an error, the data must not be used for training.

        Raises:
            UserError: No file has an object.
        """
        if not self.classes:
            raise UserError(f"{self.root}: none of the LabelMe files has an object")
        reader = _Reader(self)
        paths = enumerate(self.subsets[subset], 1)
        found = [image for number, path in paths if (image := reader.image(number, path))]
        return InstanceSet(self.root, found, self.classes, range(1, len(self.classes) + 1)), reader.problems


def find_labelme(root: Path) -> LabelMeFiles | None:
    """Find the LabelMe files of a folder, or return None.

    Args:
        root: Folder with the files, or with one folder of them per subset.
    """
    places = find_subset_folders(root) or {"all": root}
    found = {subset: sorted(place.rglob("*.json")) for subset, place in places.items()}
    found = {subset: [path for path in files if path.name != "classes.json"] for subset, files in found.items()}
    first = next(itertools.chain.from_iterable(found.values()), None)
    if first is None or load_labelme(first) is None:
        return None
    return LabelMeFiles(root, {subset: files for subset, files in found.items() if files})


def load_labelme(path: Path) -> dict[str, Any] | None:
    """Return the content of a LabelMe file, or None if it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError:
        return None
    is_labelme = isinstance(content, dict) and all(key in content for key in KEYS)
    return content if is_labelme and isinstance(content["shapes"], list) else None


def _label(shape: Any) -> str:
    return str(shape.get("label") or "").strip() if isinstance(shape, dict) else ""


class _Reader:
    """Reads the files of one subset and records their problems."""

    def __init__(self, files: LabelMeFiles) -> None:
        self.root = files.root
        self.finder = ImageFinder(files.root, [])
        self.labels = {name: label for label, name in enumerate(files.classes, 1)}
        self.problems: list[Problem] = []
        self.num_objects = 0

    def note(self, severity: Severity, kind: str, path: Path, message: str) -> None:
        self.problems.append(Problem(severity, kind, str(path), message))

    def image(self, number: int, path: Path) -> AnnotatedImage | None:
        """Return one image with its objects, or None if it is invalid."""
        content = load_labelme(path)
        if content is None:
            self.note("error", "annotation file", path, "isn't a LabelMe file (JSON with 'shapes' and 'imagePath')")
            return None
        file = self._find_image(path, str(content["imagePath"] or ""))
        if file is None:
            return None
        try:
            with open_image(str(file)) as image:
                size = displayed_size(image)
        except UserError as error:
            self.note("error", "unreadable image", file, str(error))
            return None
        width, height = content.get("imageWidth"), content.get("imageHeight")
        if isinstance(width, int) and isinstance(height, int):
            size = width, height  # compared with the image by the checks of all layouts
        instances = self._instances(path, content["shapes"], size)
        if not instances:
            message = "no object is annotated in it; it isn't trained on, and scored as an empty image"
            self.note("note", "no annotations", file, message)
        return AnnotatedImage(number, str(file), *size, tuple(instances))

    def _find_image(self, path: Path, name: str) -> Path | None:
        try:
            found = self.finder.find(name, path.parent)
        except UserError as error:
            self.note("error", "image name", path, str(error))
            return None
        if found is None:
            message = f"no such image file, but {path.name} names it; restore it beside that file"
            self.note("error", "missing image", path.parent / name, message)
        return found

    def _instances(self, path: Path, shapes: Sequence[Any], size: tuple[int, int]) -> list[Instance]:
        """Return the objects; shapes of one label with the same group are parts of one object."""
        groups: dict[object, list[Any]] = {}
        for place, shape in enumerate(shapes):
            name = _label(shape)
            if name in NO_CLASSES:
                continue
            if not name:
                self.note("error", "label", path, f"shapes[{place}] has no label; give it one or remove it")
            elif shape.get("shape_type", "polygon") not in OUTLINES:
                message = f"shapes[{place}] ({name!r}) is a {shape.get('shape_type')}, which encloses no object"
                self.note("warning", "shape without area", path, f"{message}; it is left out")
            else:
                group = shape.get("group_id")
                groups.setdefault((name, group) if group is not None else place, []).append(shape)
        found = [self._instance(path, parts, size) for parts in groups.values()]
        return [one for one in found if one is not None]

    def _instance(self, path: Path, parts: Sequence[Any], size: tuple[int, int]) -> Instance | None:
        name = _label(parts[0])
        try:
            outlines = [_outline(part) for part in parts if part.get("shape_type") != "mask"]
            corners = [_corners(part) for part in parts if part.get("shape_type") == "mask"]
            segmentation = _segmentation(parts, outlines, size)
        except (KeyError, TypeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            self.note("error", "shape", path, f"a shape of {name!r} has no valid points ({reason}); draw it again")
            return None
        box = _bounds([point for outline in (*outlines, *corners) for point in outline])
        if min(box[2:]) <= 0:
            self.note("warning", "box without area", path, f"an object {name!r} has no area; it isn't trained on")
        self.num_objects += 1
        return Instance(self.num_objects, self.labels[name], box, _area(box, outlines), segmentation=segmentation)


def _segmentation(parts: Sequence[Any], outlines: Sequence[Points], size: tuple[int, int]) -> Segmentation | None:
    """Return the mask of an object: polygons, run lengths if a part is a mask, None if all parts are rectangles."""
    kinds = {part.get("shape_type", "polygon") for part in parts}
    if kinds == {"rectangle"}:
        return None
    polygons: Any = [[value for point in outline for value in point] for outline in outlines]
    if "mask" not in kinds:
        return polygons  # type: ignore[no-any-return]
    height, width = size[1], size[0]
    whole = decode_mask(polygons, height, width) if polygons else _empty(height, width)
    for part in parts:
        if part.get("shape_type") == "mask":
            whole = whole | _bitmap(part, height, width)
    (rle,) = encode_masks(whole[None])
    return rle


def _empty(height: int, width: int) -> Any:
    import numpy as np

    return np.zeros((height, width), dtype=bool)


def _bitmap(part: Mapping[str, Any], height: int, width: int) -> Any:
    """Return the mask [H, W] of a shape that holds an image of its box."""
    import numpy as np
    from PIL import Image

    (left, top), _ = _corners(part)
    with Image.open(io.BytesIO(base64.b64decode(part["mask"]))) as image:
        pixels = np.asarray(image.convert("L")) > 0
    whole = _empty(height, width)
    place = whole[max(round(top), 0) :, max(round(left), 0) :][: pixels.shape[0], : pixels.shape[1]]
    place[:] = pixels[: place.shape[0], : place.shape[1]]
    return whole


def _outline(part: Mapping[str, Any]) -> Points:
    """Return the corners of a polygon, rectangle or circle."""
    kind = part.get("shape_type", "polygon")
    if kind == "polygon":
        points = _points(part)
        if len(points) < 3:
            raise ValueError(f"a polygon of {len(points)} points")
        return points
    (left, top), (right, bottom) = _corners(part)
    if kind == "rectangle":
        return [(left, top), (right, top), (right, bottom), (left, bottom)]
    radius = math.hypot(right - left, bottom - top)  # a circle has its center and a point on it
    angles = [2 * math.pi * place / CIRCLE_POINTS for place in range(CIRCLE_POINTS)]
    return [(left + radius * math.cos(angle), top + radius * math.sin(angle)) for angle in angles]


def _corners(part: Mapping[str, Any]) -> Points:
    points = _points(part)
    if len(points) != 2:
        raise ValueError(f"{len(points)} points instead of 2")
    return points


def _points(part: Mapping[str, Any]) -> Points:
    points = [(float(x), float(y)) for x, y in part["points"]]
    if not all(math.isfinite(value) for point in points for value in point):
        raise ValueError("a number that is not finite")
    return points


def _bounds(points: Points) -> Box:
    left, top = (min(point[axis] for point in points) for axis in (0, 1))
    right, bottom = (max(point[axis] for point in points) for axis in (0, 1))
    return left, top, right - left, bottom - top


def _area(box: Box, outlines: Sequence[Points]) -> float:
    """Return the area of polygons by the shoelace formula, or that of the box where there is none."""
    if not outlines:
        return box[2] * box[3]
    pairs = [(*zip(outline, [*outline[1:], outline[0]], strict=True),) for outline in outlines]
    return sum(abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pair)) / 2 for pair in pairs)

"""Datasets in Pascal VOC's layout, with one XML file per image. Reads boxes, but not its few segmentation maps."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

from msgformer.data.detection.instances import AnnotatedImage, Box, Instance, InstanceSet
from msgformer.data.files.folder import IMAGE_SUFFIXES
from msgformer.data.files.images import open_image
from msgformer.data.problems import Problem, Severity
from msgformer.errors import UserError


def read_voc(root: Path, names: list[str], classes: list[str]) -> tuple[InstanceSet, list[Problem]]:
    """Read the images and objects of one subset, and find their problems.

    Objects marked as difficult are treated as crowds: they aren't used for training, and detections of them are not
    scored.

    Args:
        root: Folder with ``JPEGImages`` and ``Annotations``.
        names: Names of the images, without suffix.
        classes: Names of the classes, from :func:`voc_classes`.

    Returns:
        The valid images, and the problems; if one of them is an error, the data must not be used for training.
    """
    reader = _Reader(root, classes)
    found = [image for number, name in enumerate(names, 1) if (image := reader.image(number, name))]
    return InstanceSet(root, found, classes, range(1, len(classes) + 1)), reader.problems


def voc_classes(root: Path, names: list[str]) -> list[str]:
    """Return the sorted names of all classes in the annotations of images; unreadable files are skipped.

    Args:
        root: Folder with ``Annotations``.
        names: Names of the images, without suffix.
    """
    found: set[str] = set()
    for name in names:
        try:
            tree = _parse(root / "Annotations" / f"{name}.xml")
        except (OSError, ElementTree.ParseError, ValueError):
            continue
        found |= {(one.findtext("name") or "").strip() for one in tree.iter("object")}
    return sorted(found - {""})


class _Reader:
    """Reads the annotation files of one subset and records their problems."""

    def __init__(self, root: Path, classes: list[str]) -> None:
        self.root = root
        self.labels = {name: label for label, name in enumerate(classes, 1)}
        self.problems: list[Problem] = []
        self.num_objects = 0

    def note(self, severity: Severity, kind: str, path: Path, message: str) -> None:
        self.problems.append(Problem(severity, kind, str(path), message))

    def image(self, number: int, name: str) -> AnnotatedImage | None:
        """Return one image with its objects, or None if it is invalid."""
        path = self.root / "Annotations" / f"{name}.xml"
        file = self._find_image(name)
        try:
            tree = _parse(path)
        except FileNotFoundError:
            self.note("error", "annotation file", path, "no such file, but the subset's list names it")
            return None
        except (ElementTree.ParseError, ValueError) as error:  # also of an unknown encoding, or a wrong one
            self.note("error", "annotation file", path, f"isn't valid XML ({error}); export it again")
            return None
        width, height = (_number(tree.findtext(f"size/{side}")) for side in ("width", "height"))
        if file is None:
            self.note("error", "missing image", self.root / "JPEGImages" / name, "no such image file, but its XML is")
            return None
        if not width or not height or min(width, height) < 1:
            width, height = self._size_of(file, path)
            if not width:
                return None
        instances = [found for one in tree.iter("object") if (found := self._instance(one, path, (width, height)))]
        if not instances:
            message = "no object is annotated in it; it isn't trained on, and scored as an empty image"
            self.note("note", "no annotations", file, message)
        return AnnotatedImage(number, str(file), int(width), int(height), tuple(instances))

    def _find_image(self, name: str) -> Path | None:
        suffixes = ("jpg", *sorted(IMAGE_SUFFIXES))
        names = (f"{name}.{spelling}" for suffix in suffixes for spelling in (suffix, suffix.upper()))
        return next((path for one in names if (path := self.root / "JPEGImages" / one).is_file()), None)

    def _size_of(self, file: Path, path: Path) -> tuple[int, int]:
        """Return the width and height of an image whose XML lacks them; zeros if it can't be read."""
        try:
            with open_image(str(file)) as image:
                self.note(
                    "note", "annotation file", path, "its 'size' lacks a width or height; that of the image is used"
                )
                return image.size
        except UserError as error:
            self.note("error", "unreadable image", file, str(error))
            return 0, 0

    def _instance(self, one: ElementTree.Element, path: Path, size: tuple[float, float]) -> Instance | None:
        name = (one.findtext("name") or "").strip()
        edges = [_number(one.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
        numbers = [edge for edge in edges if edge is not None]
        if name not in self.labels or len(numbers) < 4:
            what = f"object {name!r} has no box in numbers" if name in self.labels else f"unknown class {name!r}"
            self.note("error", "unknown category" if name not in self.labels else "box", path, what)
            return None
        left, top, right, bottom = numbers
        box: Box = left - 1, top - 1, right - left + 1, bottom - top + 1  # VOC counts from 1, to the last pixel
        if box[2] <= 0 or box[3] <= 0 or left > size[0] or top > size[1]:
            message = f"{name!r} {numbers} (xmin ymin xmax ymax) has no area in the image; it isn't trained on"
            self.note("warning", "box without area", path, message)
        self.num_objects += 1
        difficult = one.findtext("difficult", "0").strip() == "1"
        return Instance(self.num_objects, self.labels[name], box, box[2] * box[3], difficult)


def _parse(path: Path) -> ElementTree.Element:
    """Parse an XML file in any encoding that Python knows; the parser itself knows few."""
    content = path.read_bytes()
    declared = re.match(rb"""\s*<\?xml[^>]*encoding=["']([\w.-]+)["'][^>]*\?>""", content)
    if declared is None:
        return ElementTree.fromstring(content)
    try:
        return ElementTree.fromstring(content[declared.end() :].decode(declared[1].decode("ascii")))
    except LookupError as error:
        raise ValueError(str(error)) from error


def _number(text: str | None) -> float | None:
    """Return the finite number in a text, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None

"""Datasets in Pascal VOC's layout, with one XML file per image. Reads boxes, but not its few segmentation maps."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

from msgformer.data.detection.image_finder import ImageFinder
from msgformer.data.detection.instances import AnnotatedImage, Box, Instance, InstanceSet
from msgformer.data.files.folder import IMAGE_SUFFIXES
from msgformer.data.files.images import displayed_size, open_image
from msgformer.data.files.layout import find_subset_folders
from msgformer.data.problems import Problem, Severity
from msgformer.errors import UserError

ANNOTATION_FOLDERS = ("Annotations", "annotations", "Annotation", "annots", "xmls")
"""Names of the folder of the annotation files; the first is Pascal VOC's own."""

IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "imgs")
"""Names of the folder of the images; the first is Pascal VOC's own."""


@dataclass(frozen=True)
class VocFiles:
    """Annotation files of a data set.

    Attributes:
        root: The data folder.
        subsets: The XML files of each subset.
        finder: Finds the images.
    """

    root: Path
    subsets: Mapping[str, Sequence[Path]]
    finder: ImageFinder

    @cached_property
    def classes(self) -> list[str]:
        """Sorted names of all classes; unreadable files are skipped."""
        found: set[str] = set()
        for path in itertools.chain.from_iterable(self.subsets.values()):
            try:
                tree = _parse(path)
            except (OSError, ElementTree.ParseError, ValueError):
                continue
            found |= {(one.findtext("name") or "").strip() for one in tree.iter("object")}
        return sorted(found - {""})

    def read(self, subset: str) -> tuple[InstanceSet, list[Problem]]:
        """Read the images and objects of one subset, and find its problems.

        Objects marked as difficult are treated as crowds: they aren't used for training, and detections of them are not
        scored.

        Args:
            subset: A key of ``subsets``.

        Returns:
            The valid images, and the problems; if one of them is an error, the data must not be used for training.

        Raises:
            UserError: No annotation file names an object.
        """
        if not self.classes:
            raise UserError(f"{self.root}: none of the annotation files (XML) of Pascal VOC's layout names an object")
        reader = _Reader(self)
        paths = enumerate(self.subsets[subset], 1)
        found = [image for number, path in paths if (image := reader.image(number, path))]
        return InstanceSet(self.root, found, self.classes, range(1, len(self.classes) + 1)), reader.problems


def find_voc(root: Path) -> VocFiles | None:
    """Find the annotation files of a folder in Pascal VOC's own layout, or return None.

    Args:
        root: Folder with XML files in ``Annotations``, and the names of each subset's images in ``ImageSets/Main``.

    Raises:
        UserError: The list of a subset is missing or empty.
    """
    lists = root / "ImageSets" / "Main"
    folder = _annotation_folder(root)
    if folder is None or not lists.is_dir():
        return None
    subsets = {subset: _listed(folder, lists / f"{subset}.txt") for subset in ("train", "val")}
    if (lists / "test.txt").is_file():
        subsets["test"] = _listed(folder, lists / "test.txt")
    return VocFiles(root, subsets, _finder(root, folder))


def find_voc_exports(root: Path) -> VocFiles | None:
    """Find the annotation files of a folder without lists, or return None.

    Args:
        root: Folder with one folder per subset that holds images and XML files, or with all XML files in one folder.
    """
    folder = _annotation_folder(root) or root
    found = {subset: sorted(place.rglob("*.xml")) for subset, place in find_subset_folders(root).items()}
    subsets = {subset: files for subset, files in found.items() if files}
    if not subsets:
        subsets = {"all": files} if (files := sorted(folder.glob("*.xml"))) else {}
    return VocFiles(root, subsets, _finder(root, folder)) if subsets else None


def _annotation_folder(root: Path) -> Path | None:
    return next((root / name for name in ANNOTATION_FOLDERS if (root / name).is_dir()), None)


def _finder(root: Path, folder: Path) -> ImageFinder:
    return ImageFinder(root, [*(root / name for name in IMAGE_FOLDERS), folder, root])


def _listed(folder: Path, path: Path) -> list[Path]:
    """Return the annotation files of the names in a list."""
    lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else []
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise UserError(f"{path} is missing or empty; it must list the names of the images of its subset")
    return [folder / f"{_without_presence(folder, name)}.xml" for name in names]


def _without_presence(folder: Path, name: str) -> str:
    """Remove the second column that the list of one class has, which tells whether the class is present."""
    return name if (folder / f"{name}.xml").is_file() else re.sub(r"\s+(-1|0|1)$", "", name)


class _Reader:
    """Reads the annotation files of one subset and records their problems."""

    def __init__(self, files: VocFiles) -> None:
        self.finder = files.finder
        self.labels = {name: label for label, name in enumerate(files.classes, 1)}
        self.problems: list[Problem] = []
        self.num_objects = 0

    def note(self, severity: Severity, kind: str, path: Path, message: str) -> None:
        self.problems.append(Problem(severity, kind, str(path), message))

    def image(self, number: int, path: Path) -> AnnotatedImage | None:
        """Return one image with its objects, or None if it is invalid."""
        try:
            tree = _parse(path)
        except FileNotFoundError:
            self.note("error", "annotation file", path, "no such file, but the subset's list names it")
            return None
        except (ElementTree.ParseError, ValueError) as error:  # also of an unknown encoding, or a wrong one
            self.note("error", "annotation file", path, f"isn't valid XML ({error}); export it again")
            return None
        file = self._find_image(path, (tree.findtext("filename") or "").strip())
        if file is None:
            return None
        width, height = (_number(tree.findtext(f"size/{side}")) for side in ("width", "height"))
        if not width or not height or min(width, height) < 1:
            width, height = self._size_of(file, path)
            if not width:
                return None
        instances = [found for one in tree.iter("object") if (found := self._instance(one, path, (width, height)))]
        if not instances:
            message = "no object is annotated in it; it isn't trained on, and scored as an empty image"
            self.note("note", "no annotations", file, message)
        return AnnotatedImage(number, str(file), int(width), int(height), tuple(instances))

    def _find_image(self, path: Path, name: str) -> Path | None:
        """Return the image of an annotation file: that beside it, that of its name, or that which it names."""
        suffixes = ("jpg", *sorted(IMAGE_SUFFIXES))
        names = [f"{path.stem}.{spelling}" for suffix in suffixes for spelling in (suffix, suffix.upper())]
        places = (path.parent, *self.finder.places)
        found = next((place / one for place in places for one in names if (place / one).is_file()), None)
        try:
            found = found or (self.finder.find(name) if name else None)
        except UserError as error:
            self.note("error", "image name", path, str(error))
            return None
        if found is None:
            self.note("error", "missing image", self.finder.missing(path.stem), "no such image file, but its XML is")
        return found

    def _size_of(self, file: Path, path: Path) -> tuple[int, int]:
        """Return the width and height of an image whose XML lacks them; zeros if it can't be read."""
        try:
            with open_image(str(file)) as image:
                self.note(
                    "note", "annotation file", path, "its 'size' lacks a width or height; that of the image is used"
                )
                return displayed_size(image)
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

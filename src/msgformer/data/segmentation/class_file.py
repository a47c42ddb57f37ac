"""Files that name the classes of label maps, and possibly their colors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from msgformer.data.segmentation.colors import format_color, parse_color
from msgformer.errors import UserError

CLASS_FILES = ("classes.txt", "class_dict.csv", "label_colors.txt", "objectInfo150.txt")
"""Files in the data folder that name the classes: one per line, possibly with its color after or before it; the last is
ADE20K's table with names in its last column."""

ADE20K_CLASSES = 150

_NUMBER = r"\d{1,3}"
_COLOR = rf"{_NUMBER}[\s,]+{_NUMBER}[\s,]+{_NUMBER}|\#[0-9a-fA-F]{{6}}"
NAME_AND_COLOR = re.compile(rf"(?P<name>.*?\S)[\s,:;]+(?P<color>{_COLOR})")
COLOR_AND_NAME = re.compile(rf"(?P<color>{_COLOR})[\s,:;]+(?P<name>\S.*)")
HEADER = re.compile(r"(name|class|label)\w*\s*[,;\s]\s*(r|red)\s*[,;\s]\s*(g|green)\s*[,;\s]\s*(b|blue)", re.IGNORECASE)


@dataclass(frozen=True)
class ClassFile:
    """Classes that a file names.

    Attributes:
        path: The file.
        classes: The names, in the order of the labels.
        colors: Packed color of each class in RGB maps; None if the file has no colors.
    """

    path: Path
    classes: list[str]
    colors: list[int] | None = None


def find_classes(root: Path) -> Path | None:
    """Return the file that names the classes of a data folder, or None."""
    return next((root / name for name in CLASS_FILES if (root / name).is_file()), None)


def read_classes(root: Path) -> ClassFile:
    """Read the names of the classes, and their colors if there are any.

    Raises:
        UserError: No file names the classes, there are fewer than two, or a name or a color occurs twice.
    """
    path = find_classes(root)
    if path is None:
        raise UserError(
            f"{root} has no classes.txt; write one with one class name per line, in order of the labels, or give"
            " --segment_images.label_map '{0: NAME, 1: NAME}'"
        )
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if path.name == CLASS_FILES[-1]:
        lines = [line.split("\t")[-1].split(",")[0].strip() for line in lines[1:]]
    found = _split_colors(path, lines)
    _check_unique(path, found.classes, "class")
    _check_unique(path, [format_color(color) for color in found.colors or ()], "color")
    if len(found.classes) < 2:
        raise UserError(f"{path} names {len(found.classes)} class(es); a segmenter needs at least two")
    return found


def _split_colors(path: Path, lines: list[str]) -> ClassFile:
    """Return names and colors if each line has both, and otherwise the lines as names."""
    rows = lines[1:] if lines and HEADER.fullmatch(lines[0]) else lines
    for form in (COLOR_AND_NAME, NAME_AND_COLOR):
        matches = [match for line in rows if (match := form.fullmatch(line))]
        colors = [color for match in matches if (color := parse_color(match["color"])) is not None]
        if rows and len(colors) == len(rows):
            return ClassFile(path, [match["name"].strip() for match in matches], colors)
    return ClassFile(path, lines)


def _check_unique(path: Path, values: list[str], what: str) -> None:
    if doubled := next((value for value in values if values.count(value) > 1), None):
        first, second, *_ = [number for number, value in enumerate(values, start=1) if value == doubled]
        raise UserError(f"{path} names the {what} {doubled!r} twice, as classes {first} and {second}; rename one")

"""Repaired copies of data sets, which are checked before they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgformer.data.files.locations import FOLDER, TABLE, CocoLocation, parse_location
from msgformer.data.problems import raise_errors
from msgformer.errors import UserError, shown
from msgformer.utils.output_path import replace_when_complete

if TYPE_CHECKING:
    from msgformer.data.survey import Progress, Survey
    from msgformer.tasks.base import Task


@dataclass(frozen=True)
class RepairedCopy:
    """A repaired copy of a data set, which has no errors.

    Attributes:
        output: Its folder.
        images: Number of images per subset.
        changes: What was changed, with counts.
        left_out: Files of the original that it lacks.
    """

    output: str
    images: dict[str, int]
    changes: list[str]
    left_out: list[str]


def check_copy(output: Path, data: str) -> Path:
    """Return the folder for the repaired copy after checking that it is new.

    Args:
        output: The folder.
        data: The data, with absolute paths.

    Raises:
        UserError: It exists, its parent doesn't, it lies in the data, or the data isn't in files.
    """
    explicit = CocoLocation.parse(data)
    if explicit is None and parse_location(data).scheme not in (FOLDER, TABLE):
        raise UserError(f"fix: {shown(data)} is no folder or table of labels, whose files could be copied")
    if output.exists():
        raise UserError(f"fix: {shown(output)} exists; give a new folder")
    if not output.parent.is_dir():
        raise UserError(f"fix: there is no folder {shown(output.parent)}; create it first")
    places = [Path(data)] if explicit is None else [explicit.annotations, explicit.images or explicit.annotations]
    for root in (place if place.is_dir() else place.parent for place in places):
        if output.resolve().is_relative_to(root.resolve()):
            raise UserError(f"fix: {shown(output)} lies in the data; give a folder outside of {shown(root)}")
    return output


def write_copy(
    task: Task, data: str, survey: Survey, output: Path, progress: Progress, options: Mapping[str, Any]
) -> RepairedCopy:
    """Write a repaired copy, and check it.

    Args:
        task: Task of the data.
        data: The data, with absolute paths.
        survey: Its survey.
        output: A folder that `check_copy` returned.
        progress: Shows the progress of the check.
        options: Options of the survey.

    Raises:
        UserError: Errors remain, or the copy would be read differently; nothing is written then.
    """
    with replace_when_complete(output) as folder:
        folder.mkdir()
        repair = task.repair(data, survey.problems, folder, options)
        for subset, count in repair.images.items():
            if not count:
                example = shown(repair.left_out[0]) if repair.left_out else "none is listed"
                raise UserError(f"fix: no usable image is left in {subset} ({example}, ...); restore the images")
        copied = task.survey(str(folder), progress, {})
        try:
            raise_errors(copied.problems)
        except UserError as error:
            reason = str(error).replace(f"{folder}/", "").replace(str(folder), "the copy")
            raise UserError(f"fix: an error remains in the copy: {reason}") from None
        lost = _class_names(survey, used=True) - _class_names(copied) | _class_names(copied) - _class_names(survey)
        if copied.images != repair.images or lost:
            what = f"class {min(lost)!r}" if lost else "the number of images"
            raise UserError(f"fix: {what} would differ in the copy of {shown(data)}; correct the data by hand")
    return RepairedCopy(str(output), repair.images, repair.changes, repair.left_out)


def _class_names(survey: Survey, *, used: bool = False) -> set[str]:
    """Return the names of all classes, or of those that are ``used``."""
    return {name for counts in survey.classes.values() for name, count in counts.items() if count or not used}

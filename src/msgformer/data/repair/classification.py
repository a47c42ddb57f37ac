"""Repaired copies of classification datasets: class folders without the images that can't be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgformer.data.files.folder import class_name
from msgformer.data.files.locations import find_labels
from msgformer.data.files.sources import FolderSource
from msgformer.data.problems import Problem
from msgformer.data.repair.copying import Repair, error_paths, place_file, refuse_others
from msgformer.data.survey import open_sources
from msgformer.errors import UserError, shown

UNREADABLE = ("unreadable image",)
"""Kinds of errors that leaving out an image repairs."""


def repair_classification(data: str, problems: Sequence[Problem], output: Path) -> Repair:
    """Write class folders, in folders of subsets if there are any, with the readable images.

    Args:
        data: A folder or a table of labels.
        problems: From `survey_classification`.
        output: The new folder.

    Raises:
        UserError: The data is not in files, or there are errors that can't be repaired.
    """
    refuse_others(problems, UNREADABLE)
    unreadable = error_paths(problems, UNREADABLE)
    images, left_out = {}, []
    for subset, source in open_sources(find_labels(data))[0].items():
        if not isinstance(source, FolderSource):
            raise UserError(f"fix: {shown(data)} is no folder or table of labels, whose files could be copied")
        folder = output if subset == "all" else output / subset
        kept = [index for index in range(len(source.labels)) if source.where(index) not in unreadable]
        for index in kept:
            place_file(source.open(index), _target(folder, source, index))
        images[subset] = len(kept)
        left_out += [source.where(index) for index in range(len(source.labels)) if source.where(index) in unreadable]
    return Repair(images, [], left_out)


def _target(folder: Path, source: FolderSource, index: int) -> Path:
    """Return the path of an image in its class folder, below the folders that it was in."""
    name = source.classes[source.labels[index]]
    if Path(name).name != name:
        raise UserError(f"fix: class {name!r} can't be the name of a folder; rename it in the table of labels")
    parts = [part for part in Path(source.name(index)).parts if part not in ("..", "/")]
    if len(parts) > 1 and class_name(parts[0]) == name:
        parts = parts[1:]
    target, number = folder / name / Path(*parts), 1
    while target.exists():
        number += 1
        target = target.with_name(f"{Path(parts[-1]).stem}_{number}{target.suffix}")
    return target

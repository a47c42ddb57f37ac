"""Common parts of repaired copies: what can be repaired, and files that are linked or copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgformer.data.problems import Problem, raise_errors
from msgformer.errors import UserError


@dataclass(frozen=True)
class Repair:
    """What a repaired copy holds, and how it differs from the original.

    Attributes:
        images: Number of images per subset.
        changes: What was changed, with counts.
        left_out: Paths of the files that were left out.
    """

    images: dict[str, int]
    changes: list[str]
    left_out: list[str]


def refuse_others(problems: Iterable[Problem], repairable: Collection[str]) -> None:
    """Refuse errors that no copy can repair without a decision.

    Args:
        problems: Problems of the dataset.
        repairable: Kinds of the errors that can be repaired.

    Raises:
        UserError: There are other errors; the message names the first one, and the number of others by kind.
    """
    try:
        raise_errors(problem for problem in problems if problem.kind not in repairable)
    except UserError as error:
        raise UserError(f"fix: not repairable without a decision of yours: {error}") from None


def error_paths(problems: Iterable[Problem], kinds: Collection[str]) -> set[str]:
    """Return the paths of the errors of some kinds.

    Args:
        problems: Problems of the dataset.
        kinds: The kinds.
    """
    return {problem.path for problem in problems if problem.severity == "error" and problem.kind in kinds}


def counted(counts: Mapping[str, int]) -> list[str]:
    """Return texts such as "3 boxes clipped" for the counts above 0."""
    return [f"{count} {what}" for what, count in counts.items() if count]


def place_file(source: str | Path, target: Path) -> None:
    """Make a file available at another path: by a hard link if possible, or else by a copy.

    Args:
        source: The file; a link to one is followed.
        target: The new path, in a folder that is created if needed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    original = Path(source).resolve()
    try:
        os.link(original, target)
    except OSError:  # another disk, or a file system without hard links
        shutil.copyfile(original, target)


def unique_names(paths: Sequence[str]) -> list[str]:
    """Return a file name for each path: its own, with a number if another file has it except for case and suffix."""
    used: set[str] = set()
    names = []
    for path in map(Path, paths):
        stem, number = path.stem, 1
        while stem.casefold() in used:
            number += 1
            stem = f"{path.stem}_{number}"
        used.add(stem.casefold())
        names.append(f"{stem}{path.suffix}")
    return names

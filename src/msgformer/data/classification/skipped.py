"""A look at every image before work is based on them, and what becomes of those that can't be read."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from msgformer.config.data_options import OnBadImage
from msgformer.data.files.sources import Source, SubsetSource
from msgformer.errors import UserError

SKIPPED_FILE = "skipped.csv"

FULL_CHECK_LIMIT = 5_000
"""Up to so many images are decoded whole before a training starts; of more, only the headers are read."""

HEADER_CHECK_LIMIT = 100_000
"""Above so many images nothing is read beforehand: over a network it would take longer than an epoch's surprise."""


@dataclass(frozen=True)
class Skipped:
    """An image that is left out.

    Attributes:
        subset: "train" or "val", or "all" where one set was split.
        name: What its source calls it.
        reason: Why it can't be read.
    """

    subset: str
    name: str
    reason: str


def check_images(source: Source) -> None:
    """Make sure before a training that its images can be read, as far as that is quick.

    Raises:
        UserError: names the first image that can't be read, and how many others there are.
    """
    count = len(source.labels)
    if count > HEADER_CHECK_LIMIT:
        return
    problems = _problems(source, whole=count <= FULL_CHECK_LIMIT)
    if problems:
        more = f" ({len(problems) - 1} more like it)" if len(problems) > 1 else ""
        first = next(iter(problems.values()))
        raise UserError(f"{first}{more}; --on-bad-image skip leaves such images out")


def check_subsets(
    subsets: Mapping[str, Source], on_bad_image: OnBadImage, recorded: Sequence[Skipped] | None = None
) -> tuple[list[Source], list[Skipped]]:
    """Subsets of which every image can be read, as far as is known.

    Args:
        subsets: Sources by the subset's name.
        on_bad_image: "stop" at an image that can't be read, or "skip" it; then every image is decoded beforehand,
            however many there are.
        recorded: What the run that goes on has left out when it began; nothing more may be left out then.

    Returns:
        The sources, and what was left out of them.

    Raises:
        UserError: an image can't be read and isn't to be skipped, or a class or subset is left without images.
    """
    usable, skipped = [], []
    for subset, source in subsets.items():
        if on_bad_image == "skip":
            known = None if recorded is None else [one for one in recorded if one.subset == subset]
            left_out = _unreadable(source, subset) if known is None else known
            source = drop_skipped(source, left_out, subset)
            skipped += left_out
        if on_bad_image == "stop" or recorded is not None:
            check_images(source)
        usable.append(source)
    return usable, skipped


def drop_skipped(source: Source, skipped: Sequence[Skipped], subset: str) -> Source:
    """``source`` without the images in ``skipped``.

    Raises:
        UserError: then a class that had images would have none.
    """
    if not skipped:
        return source
    names = {one.name for one in skipped}
    kept = [index for index in range(len(source.labels)) if source.name(index) not in names]
    if lost := {source.labels[index] for index in range(len(source.labels))} - {source.labels[index] for index in kept}:
        name = source.classes[min(lost)]
        raise UserError(f"no image of class {name!r} in {subset} can be read: {skipped[0].reason}")
    return SubsetSource(source, kept)


def count_skipped(skipped: Sequence[Skipped], place: str) -> str:
    """The line that tells how many images are left out, and where they are listed."""
    by_subset = Counter(one.subset for one in skipped)
    counts = [f"{count} of {subset}" for subset, count in by_subset.items()]
    return f"left out {', '.join(counts)}: {len(skipped)} image(s) that can't be read, listed in {place}"


def write_skipped(run: Path, skipped: Sequence[Skipped]) -> None:
    """Write ``skipped.csv`` with the columns subset, name and reason, unless nothing was left out."""
    if not skipped:
        return
    with (run / SKIPPED_FILE).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(("subset", "name", "reason"))
        writer.writerows((one.subset, one.name, one.reason) for one in skipped)


def read_skipped(run: Path) -> list[Skipped]:
    """What the run folder's ``skipped.csv`` lists; nothing without that file."""
    path = run / SKIPPED_FILE
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [Skipped(**row) for row in csv.DictReader(file)]


def _unreadable(source: Source, subset: str) -> list[Skipped]:
    problems = _problems(source, whole=True)
    return [Skipped(subset, source.name(index), str(problem)) for index, problem in problems.items()]


def _problems(source: Source, *, whole: bool) -> dict[int, UserError]:
    """What is wrong with which image."""
    with ThreadPoolExecutor() as pool:  # Pillow's decoders release the lock
        found = pool.map(lambda index: source.probe(index, whole=whole), range(len(source.labels)))
        return {index: problem for index, problem in enumerate(found) if problem}

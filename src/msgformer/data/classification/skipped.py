"""Checks of images before a training, and the record of skipped images that can't be read."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from msgformer.config.data_options import OnBadImage
from msgformer.data.files.sources import Source, SubsetSource
from msgformer.data.problems import FULL_CHECK_LIMIT, HEADER_CHECK_LIMIT
from msgformer.errors import UserError

SKIPPED_FILE = "skipped.csv"


@dataclass(frozen=True)
class Skipped:
    """A skipped image.

    Attributes:
        subset: "train" or "val", or "all" if one set is split.
        name: Name of the image in its source.
        reason: Reason why it can't be read.
    """

    subset: str
    name: str
    reason: str


def check_images(source: Source) -> None:
    """Check before a training that its images can be read, as far as that is quick.

    Raises:
        UserError: An image can't be read; the message names the first one and the number of others.
    """
    count = len(source.labels)
    if count > HEADER_CHECK_LIMIT:
        return
    problems = _problems(source, whole=count <= FULL_CHECK_LIMIT)
    if problems:
        more = f" ({len(problems) - 1} more like it)" if len(problems) > 1 else ""
        first = next(iter(problems.values()))
        raise UserError(f"{first}{more}; --on_bad_image skip leaves such images out")


def check_subsets(
    subsets: Mapping[str, Source], on_bad_image: OnBadImage, recorded: Sequence[Skipped] | None = None
) -> tuple[list[Source], list[Skipped]]:
    """Check the images of subsets, and remove those to skip.

    Args:
        subsets: Sources by the name of the subset.
        on_bad_image: "stop" at an image that can't be read, or "skip" it; the latter decodes every image beforehand,
            regardless of their number.
        recorded: Images that a resumed run skipped when it started; no other image may then be skipped.

    Returns:
        The remaining sources, and the skipped images.

    Raises:
        UserError: An image can't be read and may not be skipped, or a class has no image left.
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
    """Remove skipped images from a source.

    Args:
        source: The source.
        skipped: Images to remove.
        subset: Name of the subset, for messages.

    Raises:
        UserError: A class would have no image left.
    """
    if not skipped:
        return source
    reasons = {one.name: one.reason for one in skipped}
    names = [source.name(index) for index in range(len(source.labels))]
    usable = [index for index, name in enumerate(names) if name not in reasons]
    if lost := set(source.labels) - {source.labels[index] for index in usable}:
        label = min(lost)
        reason = reasons[names[source.labels.index(label)]]
        raise UserError(f"no image of class {source.classes[label]!r} in {subset} can be read: {reason}")
    return SubsetSource(source, usable)


def count_skipped(skipped: Sequence[Skipped], place: str) -> str:
    """Return a message with the number of skipped images.

    Args:
        skipped: The skipped images.
        place: File that lists them.
    """
    by_subset = Counter(one.subset for one in skipped)
    counts = [f"{count} of {subset}" for subset, count in by_subset.items()]
    return f"left out {', '.join(counts)}: {len(skipped)} image(s) that can't be read, listed in {place}"


def write_skipped(run: Path, skipped: Sequence[Skipped]) -> None:
    """Write ``skipped.csv`` with the columns subset, name and reason, unless no image was skipped.

    Args:
        run: Run folder.
        skipped: The skipped images.
    """
    if not skipped:
        return
    with (run / SKIPPED_FILE).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(("subset", "name", "reason"))
        writer.writerows((one.subset, one.name, one.reason) for one in skipped)


def read_skipped(run: Path) -> list[Skipped]:
    """Read the skipped images of a run from ``skipped.csv``; an empty list if there is no such file."""
    path = run / SKIPPED_FILE
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [Skipped(**row) for row in csv.DictReader(file)]


def _unreadable(source: Source, subset: str) -> list[Skipped]:
    problems = _problems(source, whole=True)
    return [Skipped(subset, source.name(index), str(problem)) for index, problem in problems.items()]


def _problems(source: Source, *, whole: bool) -> dict[int, UserError]:
    """Return the errors of unreadable images by index."""
    with ThreadPoolExecutor() as pool:  # Pillow's decoders release the lock
        found = pool.map(lambda index: source.probe(index, whole=whole), range(len(source.labels)))
        return {index: problem for index, problem in enumerate(found) if problem}

"""Seeded splits into training and validation images, by class and by group, and their record in the run folder."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgformer.data.files.layout import subset_of
from msgformer.errors import UserError, shown
from msgformer.utils.seeding import derive

if TYPE_CHECKING:
    import numpy as np

SPLIT_FILE = "split.csv"

Subset = Literal["train", "val", "test"]

NAME_COLUMNS, SUBSET_COLUMNS = ("name", "image"), ("subset", "split")
"""Columns of a split file, in order of preference; other columns are ignored."""

MAX_TRIED_GROUPS = 2_000
"""Up to this number of groups, several orders of the groups are tried; with more, one order is as good."""

TRIED_ORDERS = 20


@dataclass(frozen=True)
class Folds:
    """One fold of a cross-validation.

    Attributes:
        count: Number of folds.
        chosen: Number of the fold for validation, from 1.
    """

    count: int
    chosen: int


@dataclass(frozen=True)
class SplitRule:
    """How images are split into training and validation images.

    Attributes:
        fraction: Fraction of the images of each class for validation; 0 trains on all images.
        seed: Seed of the split.
        folds: Cross-validation instead of a fraction.
        file: File that assigns the images instead, as of `assign_subsets`.
        by: What groups the images: a column of a table of labels, or a pattern as of `match_groups`.
        has_own_seed: Whether the seed is for the split alone.
    """

    fraction: float = 0.2
    seed: int = 0
    folds: Folds | None = None
    file: Path | None = None
    by: str | None = None
    has_own_seed: bool = False


def split_images(
    labels: Sequence[int], classes: Sequence[str], rule: SplitRule, groups: Sequence[str] | None = None
) -> tuple[list[int], list[int]]:
    """Split images by a fraction or into folds, by class and, if they are given, by group.

    Args:
        labels: Class index of each image.
        classes: Class names, for messages.
        rule: Fraction or folds, and the seed; its file isn't read.
        groups: Name of the group of each image, which is never split.

    Returns:
        Indices of the training and of the validation images, both ascending.

    Raises:
        UserError: The images can't be split so.
    """
    if rule.folds is None and rule.fraction == 0:
        return list(range(len(labels))), []
    if groups is None and rule.folds is None:
        return stratified_split(labels, classes, rule.fraction, rule.seed)
    if groups is None:
        assert rule.folds is not None
        return stratified_fold(labels, classes, rule.folds, rule.seed)
    if rule.folds is None:
        return grouped_split(labels, classes, groups, rule.fraction, rule.seed)
    return grouped_fold(labels, classes, groups, rule.folds, rule.seed)


def refuse_rule(rule: SplitRule, data: str | Path | None) -> None:
    """Refuse a rule for data with validation images of its own, where it has no effect.

    Args:
        rule: The rule.
        data: The data, for the message.

    Raises:
        UserError: The rule has more than a fraction above 0.
    """
    seed = rule.seed if rule.has_own_seed else None
    given = {"folds": rule.folds, "split_file": rule.file, "split_by": rule.by, "split_seed": seed}
    name = next((name for name, value in given.items() if value is not None), None)
    if name is None and rule.fraction == 0:
        name = "val_fraction 0"
    if name is not None:
        raise UserError(
            f"{name} is for data without validation images, and {shown(str(data))} has some; leave it out, or give"
            " --data with the training images alone"
        )


def match_groups(names: Sequence[str], pattern: str) -> list[str]:
    """Return the group of each image: the first group of a regular expression in its name, or the whole match.

    Args:
        names: Names of the images.
        pattern: The regular expression, searched anywhere in a name.

    Raises:
        UserError: The expression is invalid, a name doesn't match, or all images are in one group.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"split_by: {pattern!r} is no regular expression ({error}); correct it") from error
    matches = [compiled.search(name) for name in names]
    if unmatched := [name for name, match in zip(names, matches, strict=True) if match is None]:
        more = f" ({len(unmatched) - 1} more)" if len(unmatched) > 1 else ""
        raise UserError(f"split_by: {pattern!r} doesn't match {shown(unmatched[0])}{more}; make it match every image")
    groups = [(match[1] if compiled.groups and match[1] is not None else match[0]) for match in matches if match]
    check_groups(groups, pattern)
    return groups


def check_groups(groups: Sequence[str], by: str) -> None:
    """Check that there are at least two groups.

    Args:
        groups: Name of the group of each image.
        by: The user's column or pattern, for the message.

    Raises:
        UserError: There is only one.
    """
    if len({*groups}) < 2:
        raise UserError(f"split_by: {by!r} puts all images into one group, {groups[0]!r}; give a finer one")


def stratified_split(
    labels: Sequence[int], classes: Sequence[str], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Split the images of each class by the same fraction, with at least one image on either side.

    The choice within a class depends only on the seed, the label and the number of images of the class.

    Args:
        labels: Class index of each image.
        classes: Class names, for messages.
        fraction: Fraction of the images for validation, 0..1.
        seed: Any non-negative number.

    Returns:
        Indices of the training and of the validation images, both ascending.

    Raises:
        UserError: The fraction is not between 0 and 1, or a class has a single image.
    """
    import numpy as np

    if not 0 < fraction < 1:
        raise UserError(f"val_fraction must lie between 0 and 1, not {fraction:g}")
    chosen: list[int] = []
    for members, order in _shuffled_classes(labels, classes, seed):
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        chosen += order[:count].tolist()
    return _by_validation(np.isin(np.arange(len(labels)), chosen))


def stratified_fold(
    labels: Sequence[int], classes: Sequence[str], folds: Folds, seed: int
) -> tuple[list[int], list[int]]:
    """Deal the images of each class evenly to folds, and hold out those of one fold.

    Args:
        labels: Class index of each image.
        classes: Class names, for messages.
        folds: Number of folds, and the one for validation.
        seed: Any non-negative number; the folds of one seed are disjoint.

    Returns:
        Indices of the training and of the validation images, both ascending.

    Raises:
        UserError: There are fewer images than folds, or a class has a single image.
    """
    import numpy as np

    if len(labels) < folds.count:
        raise UserError(f"folds is {folds.count}, but there are only {len(labels)} images; give fewer folds")
    fold = np.empty(len(labels), np.int64)
    dealt = 0
    for members, order in _shuffled_classes(labels, classes, seed):
        fold[order] = (dealt + np.arange(len(members))) % folds.count
        dealt += len(members)
    return _by_validation(fold == folds.chosen - 1)


def _shuffled_classes(
    labels: Sequence[int], classes: Sequence[str], seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the indices of the images of each class, ascending and shuffled."""
    import numpy as np

    for label, name in enumerate(classes):
        members = np.flatnonzero(np.asarray(labels) == label)
        if len(members) < 2:
            few = f"class {name!r} has {len(members)} image(s)"
            raise UserError(f"{few}: a split into train and val needs at least 2")
        yield members, np.random.default_rng(derive(seed, label)).permutation(members)


def grouped_split(
    labels: Sequence[int], classes: Sequence[str], groups: Sequence[str], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Split groups of images, so that each class is divided as nearly as possible by the same fraction.

    A group stays in training if a class has no other group.

    Args:
        labels: Class index of each image.
        classes: Class names, for messages.
        groups: Name of the group of each image.
        fraction: Fraction of the images for validation, 0..1.
        seed: Any non-negative number.

    Returns:
        Indices of the training and of the validation images, both ascending.

    Raises:
        UserError: No group can be held out.
    """
    grouped = _Groups(labels, groups)
    only = {found[0] for found in grouped.by_class.values() if len(found) == 1}
    free = [group for group in range(len(grouped.names)) if group not in only]
    if not free:
        name, (group,) = next((label, found) for label, found in grouped.by_class.items() if len(found) == 1)
        raise UserError(
            f"split_by: no group can be held out, such as {shown(grouped.names[group])}, which holds all images of"
            f" class {classes[name]!r}; give smaller groups"
        )
    fold = grouped.distribute((fraction, 1 - fraction), seed, dict.fromkeys(only, 1))
    if 0 not in fold:
        fold[min(free, key=lambda group: (abs(grouped.share(group) - fraction), derive(seed, group)))] = 0
    elif 1 not in fold:
        fold[min(free, key=lambda group: (-grouped.share(group), derive(seed, group)))] = 1
    return _by_validation(fold[grouped.index] == 0)


def grouped_fold(
    labels: Sequence[int], classes: Sequence[str], groups: Sequence[str], folds: Folds, seed: int
) -> tuple[list[int], list[int]]:
    """Distribute groups of images evenly to folds, class by class as far as possible, and hold out one fold.

    Args:
        labels: Class index of each image.
        classes: Class names, for messages.
        groups: Name of the group of each image.
        folds: Number of folds, and the one for validation.
        seed: Any non-negative number; the folds of one seed are disjoint.

    Returns:
        Indices of the training and of the validation images, both ascending.

    Raises:
        UserError: There are fewer groups than folds, or all images of a class are in the fold.
    """
    import numpy as np

    grouped = _Groups(labels, groups)
    if len(grouped.names) < folds.count:
        count = len(grouped.names)
        raise UserError(f"folds is {folds.count}, but split_by finds only {count} group(s); give fewer folds")
    fold = grouped.distribute((1 / folds.count,) * folds.count, seed)[grouped.index]
    train, val = _by_validation(fold == folds.chosen - 1)
    if lost := set(labels) - {int(label) for label in np.asarray(labels)[train]}:
        raise UserError(
            f"fold {folds.chosen} of {folds.count} has all groups of class {classes[min(lost)]!r}, so that training"
            " lacks it; give fewer folds or another split_seed"
        )
    return train, val


class _Groups:
    """Groups of images with their numbers of images per class.

    Attributes:
        names: Sorted names of the groups.
        index: Group of each image [N].
        by_class: Groups with images of each class, by label.
    """

    def __init__(self, labels: Sequence[int], groups: Sequence[str]) -> None:
        import numpy as np

        found, self.index = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
        self.names: list[str] = found.tolist()
        totals = np.bincount(labels)
        pairs, counts = np.unique(np.stack([self.index, np.asarray(labels)]), axis=1, return_counts=True)
        starts = np.searchsorted(pairs[0], np.arange(len(self.names) + 1))
        # Classes of each group, and the fractions of their images that it holds.
        self._parts = [
            (pairs[1, start:stop], counts[start:stop] / totals[pairs[1, start:stop]])
            for start, stop in itertools.pairwise(starts.tolist())
        ]
        self._num_classes = len(totals)
        self.by_class: dict[int, list[int]] = {}
        for group, label in pairs.T.tolist():
            self.by_class.setdefault(label, []).append(group)

    def share(self, group: int) -> float:
        """Return the fraction of all images in a group, with classes of equal weight."""
        return float(self._parts[group][1].sum()) / len(self.by_class)

    def distribute(self, targets: Sequence[float], seed: int, fixed: Mapping[int, int] | None = None) -> np.ndarray:
        """Distribute the groups to parts; the best of several random orders.

        Args:
            targets: Fraction of each part; they sum to 1.
            seed: Seed of the orders.
            fixed: Parts of groups that are not distributed.

        Returns:
            The part of each group [G].
        """
        import numpy as np

        tries = TRIED_ORDERS if len(self.names) <= MAX_TRIED_GROUPS else 1
        orders = (np.random.default_rng(derive(seed, number)).permutation(len(self.names)) for number in range(tries))
        tried = [self._distribute(targets, order.tolist(), fixed or {}) for order in orders]
        return min(tried, key=lambda one: one[0])[1]

    def _distribute(
        self, targets: Sequence[float], order: Sequence[int], fixed: Mapping[int, int]
    ) -> tuple[float, np.ndarray]:
        """Put each group where its classes are short of the target most; return the squared deviation and the parts."""
        import numpy as np

        excess = np.repeat(-np.asarray(targets)[:, None], self._num_classes, axis=1)  # of each part and class
        parts = np.empty(len(self.names), np.int64)
        for group in [*fixed, *(group for group in order if group not in fixed)]:
            labels, fractions = self._parts[group]
            parts[group] = fixed[group] if group in fixed else int(np.argmin(excess[:, labels] @ fractions))
            excess[parts[group], labels] += fractions
        return float((excess[:, list(self.by_class)] ** 2).sum()), parts


def _by_validation(is_val: np.ndarray) -> tuple[list[int], list[int]]:
    """Return the ascending indices of the training and of the validation images."""
    import numpy as np

    return np.flatnonzero(~is_val).tolist(), np.flatnonzero(is_val).tolist()


def write_split(folder: Path, subsets: Mapping[str, tuple[Sequence[str], Sequence[str]]]) -> None:
    """Write ``split.csv`` with the columns subset, class and name.

    Args:
        folder: Run folder.
        subsets: Names of the images and of their classes per subset.
    """
    with (folder / SPLIT_FILE).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(("subset", "class", "name"))
        for subset, (names, classes) in subsets.items():
            writer.writerows((subset, label, name) for name, label in zip(names, classes, strict=True))


def read_split(folder: Path, subset: str) -> list[str] | None:
    """Read the names of a subset's images from ``split.csv``; None if there is no such file.

    Args:
        folder: Run folder.
        subset: "train", "val" or "test".
    """
    path = folder / SPLIT_FILE
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [row["name"] for row in csv.DictReader(file) if row["subset"] == subset]


def read_split_file(path: Path) -> dict[str, str]:
    """Read the subset of each image from a CSV file, such as the ``split.csv`` of a run.

    Args:
        path: File with the columns name or image, and subset or split.

    Returns:
        "train", "val" or "test" by the name of the image.

    Raises:
        UserError: The file can't be read, lacks a column, or has an image twice or an unknown subset.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            columns = {name.strip().lower(): name for name in reader.fieldnames or ()}
            chosen = [next((columns[one] for one in known if one in columns), None) for known in _COLUMNS]
            if None in chosen:
                found = ", ".join(map(shown, columns)) or "no columns"
                raise UserError(
                    f"split_file: {shown(path)} has {found}; it needs a column name or image, and a column subset or"
                    " split"
                )
            rows = [(row[chosen[0]] or "", row[chosen[1]] or "") for row in reader]
    except csv.Error as error:
        raise UserError(f"split_file: {shown(path)} is not a CSV file ({error}); write it again") from error
    subsets: dict[str, str] = {}
    for number, (name, text) in enumerate(rows, 1):
        subset = subset_of(text.strip())
        if subset is None:
            raise UserError(f"split_file: {shown(path)}, row {number} has the subset {text!r}; give train, val or test")
        if subsets.setdefault(name, subset) != subset:
            other = subsets[name]
            raise UserError(
                f"split_file: {shown(path)}, row {number}: {shown(name)} is in {other} and in {subset}; keep one"
            )
    return subsets


_COLUMNS = (NAME_COLUMNS, SUBSET_COLUMNS)


def assign_subsets(names: Sequence[str], path: Path, skipped: Iterable[str] = ()) -> dict[str, list[int]]:
    """Return the indices of the images of each subset, as a split file assigns them.

    Args:
        names: Names of the images.
        path: As of `read_split_file`.
        skipped: Names of images that are left out of ``names``, which the file may list.

    Raises:
        UserError: The file lacks an image or names an unknown one, or has no training or no validation images.
    """
    subsets = read_split_file(path)
    known = {*names}
    where = f"split_file: {shown(path)}"
    if missing := [name for name in names if name not in subsets]:
        more = f" ({len(missing) - 1} more)" if len(missing) > 1 else ""
        raise UserError(f"{where} lacks the image {shown(missing[0])}{more}; add a row, or remove the image")
    if unknown := [name for name in subsets if name not in known and name not in {*skipped}]:
        more = f" ({len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise UserError(f"{where} names {shown(unknown[0])}{more}, but the data has no such image; remove the row")
    found: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for index, name in enumerate(names):
        found[subsets[name]].append(index)
    if not found["train"]:
        raise UserError(f"{where} has no training images; give some rows the subset train")
    if not found["val"]:
        raise UserError(
            f"{where} has no validation images; give some rows the subset val, or --val_fraction 0 instead of the file"
        )
    return found

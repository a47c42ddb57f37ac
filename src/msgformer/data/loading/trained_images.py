"""Recognition of a run's training images among images that a model is evaluated on."""

from __future__ import annotations

import filecmp
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgformer.data.loading.split import read_split
from msgformer.errors import shown
from msgformer.utils.spacing import evenly_spaced

MAX_COMPARED = 50
"""Largest number of files whose contents are compared to recognize a copy of the training images."""


@dataclass(frozen=True)
class TrainedImages:
    """Training images that a run has recorded.

    Attributes:
        names: Names of the images; none without a record.
        root: Folder that the names are relative to; None if it is gone, so that only names can be compared.
    """

    names: frozenset[str]
    root: Path | None

    @classmethod
    def of(cls, run: Path | None, root: Path | None) -> TrainedImages:
        """Return the training images of a run.

        Args:
            run: Run folder; None if there is none.
            root: Folder that the names are relative to; it need not exist.
        """
        names = None if run is None else read_split(run, "train")
        return cls(frozenset(names or ()), root if root is not None and root.is_dir() else None)

    def among(self, root: Path, names: Sequence[str]) -> list[int]:
        """Return the indices of the training images among other images, at the same place or in a copied folder.

        Args:
            root: Folder that the names are relative to.
            names: Names of the images.
        """
        alike = [index for index, name in enumerate(names) if name in self.names]
        if self.root is None:
            return alike
        here, there = (os.path.realpath(folder) for folder in (root, self.root))
        if here == there:
            return alike
        trained = {os.path.normpath(f"{there}/{name}") for name in self.names}
        same = [index for index, name in enumerate(names) if os.path.normpath(f"{here}/{name}") in trained]
        if same or not alike:
            return same
        compared = [names[alike[place]] for place in evenly_spaced(len(alike), MAX_COMPARED)]
        is_copy = all(_are_equal(f"{here}/{name}", f"{there}/{name}") for name in compared)
        return alike if is_copy else []

    def warn(self, run: Path, root: Path, names: Sequence[str], remedy: str) -> None:
        """Warn on standard error if images that the run was trained on are scored.

        Args:
            run: Run folder.
            root: As of `among`.
            names: Names of the scored images.
            remedy: What to give instead.
        """
        if trained := len(self.among(root, names)):
            are = "are" if self.root is not None else "have names of"
            print(
                f"warning: {trained:,} of the {len(names):,} scored images {are} training images of {shown(run)}, so"
                f" the scores are too good; {remedy}",
                file=sys.stderr,
                flush=True,
            )


def note_held_out(run: Path, data: str, held_out: int, total: int) -> None:
    """Say on standard error that only the held-out images of a run's own data are scored.

    Args:
        run: Run folder.
        data: The data.
        held_out: Number of held-out images.
        total: Number of images.
    """
    print(
        f"note: {shown(data)} has the images that {shown(run)} was trained on; the {held_out:,} that it held out"
        f" (split.csv) are scored, of {total:,}; --split all scores all",
        file=sys.stderr,
        flush=True,
    )


def _are_equal(first: str, second: str) -> bool:
    try:
        return filecmp.cmp(first, second, shallow=False)
    except OSError:
        return False

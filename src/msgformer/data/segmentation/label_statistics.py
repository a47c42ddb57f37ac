"""Pixels of each class in the label maps of a subset, and what they tell about wrong labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from msgformer.data.problems import Problem
from msgformer.data.segmentation.colors import ColoredMapError, describe_colors
from msgformer.data.segmentation.label_maps import LabeledImages, read_label_map
from msgformer.data.segmentation.label_scheme import IGNORED
from msgformer.errors import UserError

MAX_IGNORED = 0.5
"""Fraction of ignored pixels above which a subset is warned of."""

BINARY_LABEL_MAP = "--segment_images.label_map '{{{}: {}, 255: {}}}'"
"""Option for maps of 255 and another number, with that number and the names of the two classes."""


def are_binary(numbers: Iterable[int], data: LabeledImages) -> bool:
    """Return whether 255 seems to be a class, since the label maps hold a single other number.

    Args:
        numbers: All numbers in the label maps.
        data: The labeled images.
    """
    found = {*numbers}
    return len(found) == 2 and IGNORED in found and data.ignored == IGNORED and not data.scheme.is_explicit


def holds_binary_maps(data: LabeledImages) -> bool:
    """Return whether 255 seems to be a class, as of `are_binary`; reads label maps up to the first other one."""
    import numpy as np

    found: set[int] = set()
    for _, path in data.pairs:
        try:
            found |= {*np.unique(read_label_map(path, data.scheme.colors)).tolist()}
        except UserError:
            continue
        if len(found - {IGNORED}) > 1:
            return False
    return are_binary(found, data)


@dataclass
class LabelStatistics:
    """Pixels of the label maps of a subset.

    Args:
        data: The labeled images.

    Attributes:
        numbers: Number of pixels by the number that stands in the maps.
        colors: Number of pixels of each packed color in maps with colors of no class.
        num_colored: Number of these maps.
    """

    data: LabeledImages
    numbers: Counter[int] = field(default_factory=Counter)
    colors: Counter[int] = field(default_factory=Counter)
    num_colored: int = 0

    def add(self, numbers: Mapping[int, int]) -> None:
        """Add the number of pixels by number of a map without unknown labels."""
        self.numbers.update(numbers)

    def add_colored(self, error: ColoredMapError) -> None:
        """Add a map with colors of no class."""
        self.num_colored += 1
        self.colors.update(error.counts)

    def per_class(self) -> dict[str, int]:
        """Return the number of pixels of each class."""
        pixels = self._pixels()
        return {name: pixels[label] for label, name in enumerate(self.data.classes)}

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the maps as a whole."""
        where = str(Path(self.data.pairs[0][1]).parent) if self.data.pairs else str(self.data.root)
        if self.num_colored:
            text = describe_colors(self.colors, self.data.scheme.colors, self.data.classes)
            message = f"{self.num_colored} of {len(self.data)} label maps have {text}"
            yield Problem("error", "colored label maps", where, message)
        elif are_binary(self.numbers, self.data):
            yield Problem("error", "labels 0 and 255", where, self._binary_message())
        elif self.numbers and not self._pixels().keys() - {self.data.ignored}:
            message = "no pixel of any label map has a class, so that there is nothing to train on or to score"
            yield Problem("error", "no labeled pixel", where, f"{message}; correct the label maps")
        elif self.numbers:
            yield from self._warnings(where)

    def _pixels(self) -> Counter[int]:
        """Return the number of pixels by class index."""
        found: Counter[int] = Counter()
        for number, count in self.numbers.items():
            found[int(self.data.scheme.table[number])] += count
        return found

    def _binary_message(self) -> str:
        names = self.data.classes if len(self.data.classes) == 2 else ("background", "object")
        other = min({*self.numbers} - {IGNORED})
        return (
            f"the label maps hold nothing but {other} and 255, which means no class; if 255 is that of the objects,"
            f" pass {BINARY_LABEL_MAP.format(other, *names)}"
        )

    def _warnings(self, where: str) -> Iterator[Problem]:
        if missing := [name for name, count in self.per_class().items() if not count]:
            listed = ", ".join(map(repr, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            is_first = missing[0] == self.data.classes[0] and self.data.scheme.can_reduce_zero
            hint = "; if labels count from 1, each has the name of the class before it" if is_first else ""
            yield Problem("warning", "classes without pixels", where, f"no pixel has class {listed}{hint}")
        share = self._pixels()[self.data.ignored] / self.numbers.total()
        if share > MAX_IGNORED:
            message = f"{share:.0%} of the pixels are ignored, and neither trained on nor scored"
            yield Problem("warning", "ignored pixels", where, message)

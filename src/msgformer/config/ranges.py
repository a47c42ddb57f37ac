"""Ranges of numbers, and how a field of a group of options states its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

RANGE, IS_ASCENDING = "range", "is_ascending"
"""Keys in the metadata of a field."""


@dataclass(frozen=True)
class Range:
    """Range of finite numbers.

    Attributes:
        minimum: Lower bound.
        maximum: Upper bound.
        is_open: Exclude the bounds.
    """

    minimum: float
    maximum: float = math.inf
    is_open: bool = False

    def contains(self, number: float) -> bool:
        """Return whether a number is in the range; NaN and infinity never are."""
        if not math.isfinite(number):
            return False
        if self.is_open:
            return self.minimum < number < self.maximum
        return self.minimum <= number <= self.maximum

    def __str__(self) -> str:
        if self.maximum < math.inf:
            return f"lie between {self.minimum:g} and {self.maximum:g}"
        return f"be above {self.minimum:g}" if self.is_open else f"be at least {self.minimum:g}"


AT_LEAST_0, AT_LEAST_1, ABOVE_0 = Range(0), Range(1), Range(0, is_open=True)
FRACTION, PROBABILITY = Range(0, 1, is_open=True), Range(0, 1)


def option(default: T, allowed: Range, *, ascending: bool = False) -> T:
    """Declare a field of a group of options whose value must be in a range.

    Args:
        default: Default value.
        allowed: Range of the number, or of each number of a list.
        ascending: The value is a pair of ascending numbers.
    """
    metadata: dict[str, Any] = {RANGE: allowed, IS_ASCENDING: ascending}
    return field(default=default, metadata=metadata)  # type: ignore[no-any-return, unused-ignore]

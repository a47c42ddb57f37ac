"""Ranges of numbers, and how a field of a group of options states its range and which other options it needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

RANGE, IS_ASCENDING, NEEDS = "range", "is_ascending", "needs"
"""Keys in the metadata of a field."""


@dataclass(frozen=True)
class Range:
    """Range of finite numbers.

    Attributes:
        minimum: Lower bound.
        maximum: Upper bound.
        is_open: Exclude the bounds.
        is_half_open: Exclude the upper bound.
    """

    minimum: float
    maximum: float = math.inf
    is_open: bool = False
    is_half_open: bool = False

    def contains(self, number: float) -> bool:
        """Return whether a number is in the range; NaN and infinity never are."""
        if not math.isfinite(number):
            return False
        if self.is_open:
            return self.minimum < number < self.maximum
        return self.minimum <= number <= self.maximum and not (self.is_half_open and number == self.maximum)

    def __str__(self) -> str:
        if self.maximum < math.inf:
            return f"lie between {self.minimum:g} and {self.maximum:g}"
        return f"be above {self.minimum:g}" if self.is_open else f"be at least {self.minimum:g}"


AT_LEAST_0, AT_LEAST_1, AT_LEAST_2, ABOVE_0 = Range(0), Range(1), Range(2), Range(0, is_open=True)
FRACTION, PROBABILITY = Range(0, 1, is_half_open=True), Range(0, 1)


@dataclass(frozen=True)
class Needs:
    """Condition without which an option has no effect.

    Attributes:
        options: The other options, as the user gives them, such as "optim.schedule poly".
        are_given: Takes the group of options and returns whether they are given.
    """

    options: str
    are_given: Callable[[Any], bool]


def option(default: T, allowed: Range | None = None, *, ascending: bool = False, needs: Needs | None = None) -> T:
    """Declare a field of a group of options.

    Args:
        default: Default value.
        allowed: Range of the number, or of each number of a list; None for any.
        ascending: The value is a pair of ascending numbers.
        needs: Options without which this one has no effect; it is then refused.
    """
    metadata: dict[str, Any] = {RANGE: allowed, IS_ASCENDING: ascending, NEEDS: needs}
    return field(default=default, metadata=metadata)  # type: ignore[no-any-return, unused-ignore]

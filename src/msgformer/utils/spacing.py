"""Evenly spaced samples of a sequence."""

from __future__ import annotations


def evenly_spaced(total: int, max_count: int) -> list[int]:
    """Return at most ``max_count`` evenly spaced indices of a sequence, from its first to its last element.

    Args:
        total: Length of the sequence.
        max_count: Maximum number of indices; all indices if the sequence is not longer.
    """
    count = min(total, max_count)
    if count < 2:
        return list(range(count))
    return [round(place * (total - 1) / (count - 1)) for place in range(count)]

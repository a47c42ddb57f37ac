"""Times of several things, taken in turns, so that what slows the machine down slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import quantiles
from typing import NamedTuple


class Spread(NamedTuple):
    """Quartiles of repeated measurements."""

    low: float
    median: float
    high: float


def time_interleaved(runs: Sequence[Callable[[], object]], rounds: int, warm_up: int = 1) -> list[list[float]]:
    """Run everything in turns: A B A B.

    Args:
        runs: What to time; a run on an accelerator has to wait until it is done.
        rounds: How often each is timed.
        warm_up: Rounds before those, which aren't timed.

    Returns:
        Seconds of each run, by round.
    """
    seconds: list[list[float]] = [[] for _ in runs]
    for number in range(warm_up + rounds):
        for run, taken in zip(runs, seconds, strict=True):
            start = time.perf_counter()
            run()
            if number >= warm_up:
                taken.append(time.perf_counter() - start)
    return seconds


def spread(values: Sequence[float]) -> Spread:
    """Quartiles of one value or more."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    return Spread(*quantiles(values, n=4, method="inclusive"))


def pair_ratios(seconds: Sequence[float], reference: Sequence[float]) -> list[float]:
    """What was timed in turns over what it is compared with, round by round, so that what slows both cancels out."""
    return [mine / other for mine, other in zip(seconds, reference, strict=True)]

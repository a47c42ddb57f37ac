"""Interleaved timing of several functions, so that a slowdown of the machine affects all of them equally."""

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
    """Time several functions alternately: A B A B.

    Args:
        runs: Functions to time; a function that uses an accelerator must wait for it to finish.
        rounds: Number of timed rounds.
        warm_up: Number of untimed rounds at the start.

    Returns:
        Seconds per function and round.
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
    """Return the quartiles of one or more values."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    return Spread(*quantiles(values, n=4, method="inclusive"))


def pair_ratios(seconds: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Return the ratios of interleaved times per round, in which common slowdowns cancel out.

    Args:
        seconds: Times of a function, by round.
        reference: Times of the function to compare with, by round.
    """
    return [mine / other for mine, other in zip(seconds, reference, strict=True)]

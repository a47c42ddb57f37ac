"""Times of several things, taken in turns, so that what slows the machine down slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


def take_turns(runs: Sequence[Callable[[], object]], rounds: int, warm_up: int = 1) -> list[list[float]]:
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

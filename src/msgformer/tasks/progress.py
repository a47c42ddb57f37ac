"""Display of the progress over batches of images, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from msgformer.config.training_options import Progress

T = TypeVar("T")

LINE_SECONDS = 10.0
"""Seconds between two lines of progress."""


def track_progress(
    batches: Iterable[T], size: Callable[[T], int], kind: Progress, what: str, total: int | None = None
) -> Iterator[T]:
    """Yield batches, and show the progress in images.

    Args:
        batches: The batches.
        size: Returns the number of images of a batch.
        kind: "bar", "lines", "none", or "auto" for a bar in a terminal and lines elsewhere.
        what: Label of the progress.
        total: Total number of images; None if it is unknown.
    """
    if kind == "none":
        yield from batches
    elif kind == "bar" or (kind == "auto" and sys.stderr.isatty()):
        yield from _with_bar(batches, size, what, total)
    else:
        yield from _with_lines(batches, size, what, total)


def _with_bar(batches: Iterable[T], size: Callable[[T], int], what: str, total: int | None) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        for batch in batches:
            yield batch
            bar.advance(task, size(batch))


def _with_lines(batches: Iterable[T], size: Callable[[T], int], what: str, total: int | None) -> Iterator[T]:
    start = last_line = time.monotonic()
    done = 0
    of_total = "" if total is None else f" of {total:,}"
    for batch in batches:
        yield batch
        done += size(batch)
        now = time.monotonic()
        if now - last_line >= LINE_SECONDS:
            line = f"{what}: {done:,}{of_total} images, {done / (now - start):,.0f} per second"
            print(line, file=sys.stderr, flush=True)
            last_line = now

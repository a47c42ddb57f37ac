"""Progress over batches of images, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from msgformer.config.training_options import Progress

T = TypeVar("T")

LINE_SECONDS = 10.0
"""Seconds between two lines."""


def track_progress(
    batches: Iterable[T], size: Callable[[T], int], kind: Progress, what: str, total: int | None = None
) -> Iterator[T]:
    """Yield batches, and show the progress.

    Args:
        batches: The batches.
        size: Returns the number of images of a batch.
        kind: "bar", "lines", "none", or "auto" for a bar in a terminal and lines elsewhere.
        what: Label of the progress.
        total: Total number of images, if it is known.
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
    start = shown = time.monotonic()
    done = 0
    of_all = "" if total is None else f" of {total:,}"
    for batch in batches:
        yield batch
        done += size(batch)
        now = time.monotonic()
        if now - shown >= LINE_SECONDS:
            print(
                f"{what}: {done:,}{of_all} images, {done / (now - start):,.0f} per second", file=sys.stderr, flush=True
            )
            shown = now

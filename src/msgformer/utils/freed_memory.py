"""What becomes of memory that tensors leave behind: kept for the next ones, or given back to the system.

Linux gives a process pages that it clears first, one by one, when they are first touched. By default the C library
gives large tensors back to the system as soon as they are freed, so that a model whose tensors are large spends much of
its time on such pages.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""Has PyTorch align large tensors to the large pages of Linux, so that less memory lies idle between them."""

USER_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES")
"""By any of these somebody has decided about memory already."""

# Of mallopt(3): from so many bytes on, tensors come from the system one by one, and are given back alone; so much
# may lie idle at the end of all others.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3

MAX_THRESHOLD = 2**31 - 1  # the most that mallopt takes
MAX_BEFORE_2_35 = 2**25  # what it took in earlier releases of glibc


def keep_freed_memory() -> None:
    """Have this process keep what it frees, from now on, with glibc; elsewhere nothing changes.

    Call it before the first tensor is made: PyTorch asks then whether to align tensors to large pages.
    """
    os.environ.setdefault(LARGE_PAGES, "1")
    mallopt = _mallopt()
    if mallopt is None or any(name in os.environ for name in USER_VARIABLES):
        return
    # Without the first threshold the second would do harm.
    if any(mallopt(MMAP_THRESHOLD, size) for size in (MAX_THRESHOLD, MAX_BEFORE_2_35)):
        mallopt(TRIM_THRESHOLD, MAX_THRESHOLD)


def _mallopt() -> Callable[[int, int], int] | None:
    """The function of that name in glibc."""
    try:
        return ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return None

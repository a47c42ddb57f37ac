"""Reuse of freed memory: whether the C library keeps the memory of freed tensors or returns it to the system.

Linux clears each page of memory when a process first touches it. By default the C library returns large tensors to the
system as soon as they are freed, so a model with large tensors spends much of its time on clearing pages.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""Environment variable that makes PyTorch align large tensors to the huge pages of Linux, which wastes less memory."""

USER_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES")
"""Environment variables by which the user has already configured memory allocation."""

# Parameters of mallopt(3). From MMAP_THRESHOLD bytes on, blocks are allocated from the system and returned to it one by
# one. Up to TRIM_THRESHOLD unused bytes are kept at the end of the heap.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3

MAX_THRESHOLD = 2**31 - 1  # maximum that mallopt accepts
MAX_BEFORE_2_35 = 2**25  # maximum in earlier releases of glibc


def keep_freed_memory() -> None:
    """Make this process keep freed memory for reuse. Has an effect with glibc only.

    Call it before the first tensor is created, since PyTorch then reads whether to align tensors to huge pages.
    """
    os.environ.setdefault(LARGE_PAGES, "1")
    mallopt = _mallopt()
    if mallopt is None or any(name in os.environ for name in USER_VARIABLES):
        return
    # The trim threshold alone would make it slower.
    if any(mallopt(MMAP_THRESHOLD, size) for size in (MAX_THRESHOLD, MAX_BEFORE_2_35)):
        mallopt(TRIM_THRESHOLD, MAX_THRESHOLD)


def _mallopt() -> Callable[[int, int], int] | None:
    """Return the function ``mallopt`` of glibc; None with other C libraries."""
    try:
        return ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return None

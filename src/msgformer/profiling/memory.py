"""How much memory something takes at most, and how large a batch fits."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from msgformer.training.failures import is_out_of_memory

T = TypeVar("T")

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # see proc(5)


@dataclass
class Peak:
    """The most memory that was taken beyond what was taken before, in bytes; None where that can't be seen."""

    bytes: int | None = None


def largest_batch(batch: int, attempt: Callable[[int], T]) -> tuple[int, T] | None:
    """Try a batch, and one of half its size as long as memory runs out.

    Args:
        batch: Images to begin with.
        attempt: What to try with a number of images.

    Returns:
        The number of images that fitted, and what came of it; None if not even one does.
    """
    while batch:
        try:
            return batch, attempt(batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        release()  # here, where no traceback holds tensors any more
        batch //= 2
    return None


def release() -> None:
    """Give back what nothing needs any more, to the system or the accelerator."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    _trim()


def _trim() -> None:
    """Give back to the system what is free, so that resident memory grows when it is used again."""
    with suppress(AttributeError, OSError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def watch_peak(device: torch.device) -> Iterator[Peak]:
    """Measure what a block takes beyond what was taken before it.

    That is the memory that PyTorch allocates on a GPU, and this process's resident memory otherwise, where the system
    is Linux.

    Args:
        device: Where the block computes.
    """
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        torch.cuda.synchronize(device)
        peak.bytes = torch.cuda.max_memory_allocated(device) - before
        return
    _trim()
    watched = _reset_resident_peak()
    before = _resident("VmRSS") if watched else 0
    yield peak
    if watched:
        peak.bytes = max(0, _resident("VmHWM") - before)


def _reset_resident_peak() -> bool:
    """Have the system count this process's peak anew; whether it does."""
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return False
    return STATUS.is_file()


def _resident(name: str) -> int:
    """Resident memory in bytes: ``VmRSS`` is now's, ``VmHWM`` the peak's."""
    found = re.search(rf"^{name}:\s*(\d+) kB", STATUS.read_text(), re.MULTILINE)
    return 1024 * int(found[1]) if found else 0

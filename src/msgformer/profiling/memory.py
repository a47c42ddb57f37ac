"""Measure peak memory, and find the largest batch that fits in memory."""

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
    """Peak memory beyond what was in use before, in bytes; None if it can't be measured."""

    bytes: int | None = None


def largest_batch(batch: int, attempt: Callable[[int], T]) -> tuple[int, T] | None:
    """Try a batch size, and halve it until it fits in memory.

    Args:
        batch: Batch size to start with.
        attempt: Called with a batch size.

    Returns:
        The batch size that fits, and the result of ``attempt``; None if not even one image fits.
    """
    while batch:
        try:
            return batch, attempt(batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        release()  # after the except block, where no traceback refers to tensors
        batch //= 2
    return None


def release() -> None:
    """Return unused memory to the system or the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    _trim()


def _trim() -> None:
    """Return free heap memory to the system, so that its next use shows up in the resident memory."""
    with suppress(AttributeError, OSError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def measure_peak(device: torch.device) -> Iterator[Peak]:
    """Measure the peak memory of a block, beyond what was in use before it.

    On a GPU this is the memory that PyTorch allocates, otherwise the resident memory of this process (Linux only).

    Args:
        device: Device of the block.
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
    is_supported = _reset_resident_peak()
    before = _resident("VmRSS") if is_supported else 0
    yield peak
    if is_supported:
        peak.bytes = max(0, _resident("VmHWM") - before)


def _reset_resident_peak() -> bool:
    """Reset the peak resident memory of this process; return whether the system supports it."""
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return False
    return STATUS.is_file()


def _resident(name: str) -> int:
    """Return resident memory in bytes: ``VmRSS`` is the current value, ``VmHWM`` the peak."""
    found = re.search(rf"^{name}:\s*(\d+) kB", STATUS.read_text(), re.MULTILINE)
    return 1024 * int(found[1]) if found else 0

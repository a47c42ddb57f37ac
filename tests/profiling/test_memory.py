from pathlib import Path

import pytest
import torch

from msgformer.profiling import memory
from msgformer.profiling.memory import largest_batch, measure_peak

CPU = torch.device("cpu")
MIB = 2**20


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        Exception("Failed to allocate memory for requested buffer of size 8"),
        RuntimeError("memory isn't enough and alloc failed, alloc size: 8"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_batches_that_do_not_fit_are_halved(error, monkeypatch):
    tried, released = [], []
    monkeypatch.setattr(memory, "release", lambda: released.append(tried[-1]))

    def attempt(batch):
        tried.append(batch)
        if batch > 6:
            raise error
        return f"{batch} fit"

    assert largest_batch(25, attempt) == (6, "6 fit")
    assert (tried, released) == ([25, 12, 6], [25, 12])


def test_no_batch_fits_or_another_error_occurs():
    def fail(error):
        def attempt(batch):
            raise error

        return attempt

    assert largest_batch(4, fail(MemoryError())) is None
    with pytest.raises(RuntimeError, match="shapes"):
        largest_batch(4, fail(RuntimeError("shapes differ")))


@pytest.mark.skipif(not memory.CLEAR_REFS.exists(), reason="the system doesn't count peaks of resident memory")
def test_a_past_peak_is_measured():
    with measure_peak(CPU) as large:
        torch.ones(16 * MIB)  # 64 MiB
    with measure_peak(CPU) as small:
        torch.ones(MIB)
    assert 60 * MIB < large.bytes < 100 * MIB
    assert small.bytes < 20 * MIB


def test_unsupported_systems_give_no_peak(monkeypatch):
    monkeypatch.setattr(memory, "CLEAR_REFS", Path("/nowhere/clear_refs"))
    with measure_peak(CPU) as peak:
        torch.ones(10)
    assert peak.bytes is None

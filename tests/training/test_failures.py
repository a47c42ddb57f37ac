import errno
import os
from types import SimpleNamespace

import pytest
import torch

from msgformer.errors import JobError, UserError
from msgformer.training.failures import explain_failure, is_lost_connection, is_out_of_memory, resume_hint
from msgformer.training.module import NotFiniteError


def explain(error, folder=None, accumulate=2, total_batch=16):
    trainer = SimpleNamespace(accumulate_grad_batches=accumulate, world_size=2)
    module = SimpleNamespace(plan=SimpleNamespace(total_batch=total_batch), device="cpu")
    return explain_failure(error, folder, trainer, module)


@pytest.fixture
def saved(tmp_path):
    """A run folder with a checkpoint."""
    (tmp_path / "last.ckpt").touch()
    return tmp_path


def test_hint_says_what_is_saved(tmp_path):
    assert resume_hint(None) == "start it again"
    assert resume_hint(tmp_path).startswith("nothing is saved yet; ")
    (tmp_path / "last.ckpt").touch()
    assert resume_hint(tmp_path) == f"progress is saved; resume with 'msgformer train --resume {tmp_path}'"


def test_full_disk_is_named_with_its_file(saved):
    error = explain(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a/last.ckpt"), saved)
    assert isinstance(error, JobError)
    assert str(error).startswith("a/last.ckpt can't be written (no space left on device); make room; progress is saved")
    assert explain(OSError(errno.ENOENT, "no such file"), saved) is None


def test_errors_of_the_user_end_with_a_hint_if_there_is_a_checkpoint(saved, tmp_path):
    assert str(explain(UserError("a.png is gone"), saved)).startswith("a.png is gone; progress is saved")
    assert explain(UserError("a.png is gone"), None) is None
    assert explain(UserError("a.png is gone"), tmp_path / "empty") is None


def test_out_of_memory_halves_the_batch_of_a_device():
    message = str(explain(torch.OutOfMemoryError("CUDA out of memory")))
    assert "with batches of 4; use --batch_size 2 --trainer.accumulate_grad_batches 4 (the same total batch)" in message
    assert "--batch_size" not in str(explain(MemoryError(), total_batch=4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "DataLoader worker (pid 7) is killed by signal: Killed. It is possible that",
            r"^DataLoader worker \(pid 7\) is killed by signal: Killed; if memory ran out",
        ),
        ("DataLoader worker (pid(s) 7) exited unexpectedly", r"exited unexpectedly; if memory ran out"),
        ("DataLoader worker (pid 7) is killed by signal: Bus error.", r"shared memory \(/dev/shm\) is exhausted"),
    ],
)
def test_dead_workers_are_reported(text, message, saved):
    error = explain(RuntimeError(text), saved)
    assert isinstance(error, JobError)
    with pytest.raises(JobError, match=message):
        raise error


def test_broken_pipe_is_a_dead_worker():
    assert str(explain(BrokenPipeError("broken"))).startswith("DataLoader worker has died; ")


@pytest.mark.parametrize("error", [RuntimeError("a bug"), NotFiniteError("loss is NaN; use a lower --optim.lr")])
def test_other_errors_are_unchanged(error, saved):
    assert explain(error, saved) is None


def test_messages_of_libraries_are_recognized():
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert is_out_of_memory(RuntimeError("std::bad_alloc"))
    assert not is_out_of_memory(RuntimeError("memory format"))
    assert is_lost_connection(RuntimeError("[gloo] Connection closed by peer"))
    assert not is_lost_connection(ValueError("Connection closed by peer"))

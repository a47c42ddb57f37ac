import errno
import multiprocessing
import os
import re
import resource
import signal
from pathlib import Path

import pytest
import torch

from commands.tiny import assert_same_run, tiny_run
from msgformer.commands.train import train
from msgformer.errors import JobError, UserError
from msgformer.tasks.classification.training_module import ClassificationTraining

pytestmark = pytest.mark.usefixtures("one_thread")

SAFE = r"progress is saved; resume with 'msgformer train --resume \S+/run'$"


@pytest.fixture
def data(image_folder):
    return image_folder(per_class=10, classes=["dark", "grey", "light"])


@pytest.fixture
def in_second_epoch(monkeypatch):
    """Return a function that makes something happen within the second epoch."""

    def put(happen):
        losses = ClassificationTraining.losses

        def disturbed(self, batch):
            if self.current_epoch == 1:
                happen()
            return losses(self, batch)

        monkeypatch.setattr(ClassificationTraining, "losses", disturbed)

    return put


def message_of(work):
    """Return the message of the error that ``work`` raises in a separate process."""
    ours, theirs = multiprocessing.Pipe()

    def report():
        torch.set_num_threads(1)  # threads don't survive a fork
        try:
            work()
        except JobError as error:
            theirs.send(str(error))

    process = multiprocessing.get_context("fork").Process(target=report)
    process.start()
    assert ours.poll(120)
    process.join()
    return ours.recv()


def test_a_full_disk_is_reported_and_nothing_is_lost(data, tmp_path, in_second_epoch, monkeypatch):
    whole = tiny_run(data, tmp_path / "whole").run
    in_second_epoch(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY)))
    message = message_of(lambda: tiny_run(data, tmp_path / "run"))
    monkeypatch.undo()
    assert re.fullmatch(rf"\S+/run/best\.ckpt can't be written \(file too large\); make room; {SAFE}", message)
    assert not [path.name for path in (tmp_path / "run").iterdir() if "partial" in path.name]
    train(resume=tmp_path / "run")
    assert_same_run(whole, tmp_path / "run")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_an_unwritable_disk_is_reported(data, tmp_path, monkeypatch, number):
    def refuse(self, content):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(JobError, match=r"best\.ckpt can't be written \(.*\); make room; nothing is saved yet"):
        tiny_run(data, tmp_path / "run")


@pytest.mark.parametrize("workers", [0, 1])
def test_data_that_vanishes_is_named(data, tmp_path, in_second_epoch, workers):
    def vanish():
        for path in data.glob("grey/*.png"):
            path.unlink()

    in_second_epoch(vanish)
    with pytest.raises(UserError, match=rf"grey/\d\d\.png.*; {SAFE}"):
        tiny_run(data, tmp_path / "run", workers=workers)


def test_out_of_memory_is_reported_with_remedies(data, tmp_path, in_second_epoch):
    in_second_epoch(lambda: torch.empty(1 << 60, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"^out of memory on cpu with batches of 4; use --batch_size 2 --trainer.acc"):
        tiny_run(data, tmp_path / "run")


def test_out_of_gpu_memory_is_reported_with_remedies(data, tmp_path, in_second_epoch):
    def run_out():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    in_second_epoch(run_out)
    with pytest.raises(UserError, match=r"out of memory .* --trainer\.accumulate_grad_batches 4 \(the same total"):
        tiny_run(
            data, tmp_path / "run", trainer={"accelerator": "cpu", "progress": "none", "accumulate_grad_batches": 2}
        )


def test_a_killed_worker_is_reported(data, tmp_path, in_second_epoch):
    def kill():
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGKILL)

    in_second_epoch(kill)
    # In a separate process: PyTorch reports dead workers from a signal handler, at times only in the next test.
    message = message_of(lambda: tiny_run(data, tmp_path / "run", workers=1))
    assert re.search(rf"^DataLoader worker .*; if memory ran out, use fewer --workers .*; {SAFE}", message)


def test_unknown_errors_keep_their_traceback(data, tmp_path, in_second_epoch):
    def fail():
        raise RuntimeError("a bug")

    in_second_epoch(fail)
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        tiny_run(data, tmp_path / "run")

import contextlib
import itertools
import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from commands.tiny import assert_same_run, largest_difference, rows, tiny_run, weights
from msgformer.checkpoints import checkpoint_file
from msgformer.commands.train import train
from msgformer.data.files.sources import FolderSource
from msgformer.errors import UserError
from msgformer.tasks.classification.training_module import ClassificationTraining

pytestmark = pytest.mark.usefixtures("one_thread")

FILES = ("best.ckpt", "best_ema.ckpt", "last.ckpt")


def begin(data, output, **trainer):
    """Start a run with everything that has a state, three optimizer steps and two validation batches per epoch."""
    return tiny_run(
        data,
        output,
        optim={"warmup_epochs": 1, "lr": 1e-2, "lr_batch": None, "ema": 0.9},
        trainer={
            "accelerator": "cpu",
            "progress": "none",
            "accumulate_grad_batches": 2,
            "checkpoint_minutes": 0.0,
            **trainer,
        },
    ).run


@pytest.fixture
def data(image_folder):
    return image_folder(per_class=10, classes=["dark", "grey", "light"])


@pytest.fixture
def whole(data, tmp_path):
    """Train an uninterrupted run."""
    return begin(data, tmp_path / "whole")


def assert_equal_to_the_bit(ours, theirs):
    assert rows(ours) == rows(theirs)
    assert [largest_difference(ours, theirs, name) for name in FILES] == 3 * [(0.0, "")]


def fork(work):
    """Start ``work`` in a separate process."""

    def alone():
        torch.set_num_threads(1)  # threads don't survive a fork
        work()

    process = multiprocessing.get_context("fork").Process(target=alone)
    process.start()
    return process


def in_a_process(work):
    """Run ``work`` in a separate process, which may kill itself; return its exit status."""
    process = fork(work)
    process.join(120)
    return process.exitcode


@contextlib.contextmanager
def sent(number, owner, name, count):
    """Make this process send itself a signal when a function is called for the ``count``-th time."""
    original, calls = getattr(owner, name), itertools.count(1)

    def replacement(*args, **kwargs):
        if next(calls) == count:
            os.kill(os.getpid(), number)
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(owner, name, replacement)
        yield


MOMENTS = {
    "before anything is saved": (ClassificationTraining, "training_step", 1),
    "in the second epoch's third batch": (ClassificationTraining, "training_step", 9),
    "in the first validation": (ClassificationTraining, "validation_step", 2),
    "in the second validation": (ClassificationTraining, "validation_step", 3),
    "while a checkpoint within an epoch is written": (checkpoint_file.os, "fsync", 2),
    "before the last checkpoint is moved to the previous one": (Path, "replace", 8),
    "between the two moves": (Path, "replace", 9),
    "between two files at an epoch's end": (checkpoint_file.os, "fsync", 7),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_resumes_exactly(whole, data, tmp_path, moment):
    broken = tmp_path / "broken"

    def killed():
        with sent(signal.SIGKILL, *MOMENTS[moment]):
            begin(data, broken)

    assert in_a_process(killed) == -signal.SIGKILL
    assert train(resume=broken, workers=1).epochs == 3
    assert_equal_to_the_bit(whole, broken)
    assert {path.name for path in broken.iterdir()} == {path.name for path in whole.iterdir()}


def test_without_checkpoints_within_epochs_a_killed_run_resumes_from_the_last_epoch(whole, data, tmp_path):
    broken = tmp_path / "broken"

    def killed():
        with sent(signal.SIGKILL, ClassificationTraining, "training_step", 9):
            begin(data, broken, checkpoint_minutes=15)

    assert in_a_process(killed) == -signal.SIGKILL
    assert weights(broken).keys() == weights(whole).keys()
    train(resume=broken)
    assert_equal_to_the_bit(whole, broken)


def killed_after(seconds, data, run):
    """Start or resume a run in a process that is killed after a while; return whether it was still running."""
    resumable = (run / "config.yaml").is_file()
    if not resumable:
        shutil.rmtree(run, ignore_errors=True)  # it was killed before it could even say what it is
    work = (lambda: train(resume=run)) if resumable else (lambda: begin(data, run))
    process = fork(work)
    time.sleep(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_runs_killed_at_random_moments_end_the_same(whole, data, tmp_path):
    moments, kills, runs = random.Random(0), 0, 0
    while kills < 40:
        broken, latest = tmp_path / f"broken-{runs}", 0.4
        while killed_after(moments.uniform(0.05, latest), data, broken):
            kills += 1
            latest *= 1.1  # a busy machine makes no progress within a short time
        assert_equal_to_the_bit(whole, broken)
        runs += 1


@pytest.mark.parametrize(
    ("moment", "place", "batches", "validations"),
    [
        ((ClassificationTraining, "training_step", 9), "in epoch 2 after batch 4 of 6", 8, 2),
        ((ClassificationTraining, "training_step", 6), "in epoch 1 after batch 6 of 6", 12, 3),
        ((ClassificationTraining, "validation_step", 3), "in epoch 2 after batch 6 of 6, in its validation", 6, 2),
    ],
)
@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_saves_a_checkpoint_and_prints_how_to_resume(
    whole, data, tmp_path, capsys, monkeypatch, moment, place, batches, validations, number, error
):
    broken = tmp_path / "broken"
    handler = signal.getsignal(number)
    with sent(number, *moment), pytest.raises(error) as caught:
        begin(data, broken, checkpoint_minutes=15)
    assert signal.getsignal(number) is handler
    assert getattr(caught.value, "code", 143) == 143
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"stopped {place}; progress is saved; resume with 'msgformer train --resume {broken}'"
    )
    loaded = []  # nothing is done twice, not even decoded
    monkeypatch.setattr(FolderSource, "load", _noting(loaded, FolderSource.load))
    train(resume=broken, trainer={"progress": "bar"})
    assert_equal_to_the_bit(whole, broken)
    assert len(loaded) == 4 * batches + 6 * validations


def _noting(loaded, original):
    def load(self, index, *more):
        loaded.append(index)
        return original(self, index, *more)

    return load


@pytest.mark.parametrize("is_old", [False, True])
def test_a_resumed_run_keeps_its_value_range(data, tmp_path, monkeypatch, is_old):
    """One of an earlier version has none, and decodes as before."""
    for path in data.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 16).save(path)
    run = tmp_path / "run"
    with sent(signal.SIGTERM, ClassificationTraining, "training_step", 14), pytest.raises(SystemExit):
        begin(data, run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["preprocess"].pop("value_range") == [0, 4095]
    if is_old:
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    loaded = []
    original = FolderSource.load
    monkeypatch.setattr(FolderSource, "load", lambda *given: loaded.append(given[3]) or original(*given))
    train(resume=run)
    assert {*loaded} == {None if is_old else (0, 4095)}


def test_a_second_ctrl_c_stops_immediately(data, tmp_path, monkeypatch):
    def twice(self, batch, batch_idx):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ClassificationTraining, "training_step", twice)
    with pytest.raises(KeyboardInterrupt):
        begin(data, tmp_path / "run")
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(whole, data, tmp_path, capsys):
    broken = tmp_path / "broken"
    with sent(signal.SIGTERM, ClassificationTraining, "training_step", 14), pytest.raises(SystemExit):
        begin(data, broken)
    last = broken / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    train(resume=broken)
    assert f"{last} is damaged; resuming from previous.ckpt" in capsys.readouterr().err
    assert_equal_to_the_bit(whole, broken)
    for name in ("last.ckpt", "previous.ckpt"):
        (broken / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"resume: last\.ckpt and previous\.ckpt in .* can't be read"):
        train(resume=broken)


def test_data_that_changed_is_named(whole, data):
    (data / "dark" / "new.png").write_bytes((data / "dark" / "00.png").read_bytes())
    with pytest.raises(UserError, match=r"resume: the run's \w+ images have changed since its start \(dark/"):
        train(resume=whole)


def test_resuming_a_finished_run_changes_nothing(whole):
    before = weights(whole)
    assert train(resume=whole).epochs == 3
    assert all(torch.equal(before[name], value) for name, value in weights(whole).items())
    assert_same_run(whole, whole)


def test_a_run_is_resumed_with_its_own_settings(whole):
    with pytest.raises(UserError, match=r"resume: optim\.lr is 0\.01 in .*, not 0\.1"):
        train(resume=whole, optim={"lr": 0.1})
    with pytest.raises(UserError, match=r"resume: epochs is 3 in .*, not 9"):
        train(resume=whole, epochs=9)


def test_unusable_run_folders_are_named(tmp_path, image_folder):
    with pytest.raises(UserError, match="resume: no such file or folder"):
        train(resume=tmp_path / "nothing")
    with pytest.raises(UserError, match=r"has no config\.yaml"):
        train(resume=image_folder())

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml

from commands.tiny import TINY, rows
from msgformer.commands.train import train

DDP = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]
SETTINGS = {
    "img_size": 16,
    "workers": 0,
    "val_fraction": 0.28,
    "model_args": {**TINY, "drop_path_rate": 0.0},  # what is random in the model is drawn for each process
    "augment": {"mixup": 0.0, "cutmix": 0.0},
    "optim": {"warmup_epochs": 1},
}


@pytest.fixture
def data(image_folder):
    """Create 24 training images and 9 validation images, which two processes can't share evenly."""
    return image_folder(per_class=11, classes=["dark", "grey", "light"])


@pytest.fixture
def command(data, tmp_path):
    """Return a function that builds the command line of a training with the settings."""
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump({"data": str(data), "model": "msg_transformer_tiny", **SETTINGS}))
    program = [sys.executable, "-m", "msgformer", "train", f"--config={config}"]
    return lambda output, *more: [*program, f"--output={output}", *DDP, "--batch_size=4", *more]


def test_two_processes_train_and_score_as_one(tmp_path, command):
    two = subprocess.run(command(tmp_path / "two", "--epochs=3", "--json"), capture_output=True, text=True, timeout=240)
    assert two.returncode == 0, two.stderr
    assert (two.stdout.count('"top1"'), two.stderr.count("epoch 3/3")) == (1, 1)
    trainer = {"accelerator": "cpu", "progress": "none"}
    train(config=tmp_path / "settings.yaml", output=tmp_path / "one", batch_size=8, epochs=3, trainer=trainer)
    for ours, theirs in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        ours, theirs = ({name: float(value) for name, value in row.items()} for row in (ours, theirs))
        assert theirs == pytest.approx(ours, rel=1e-4)
        right = theirs["val/top1"] * 9 / 100  # each of the 9 images has counted once
        assert right == pytest.approx(round(right), abs=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_learn_from_a_teacher_as_one(tmp_path, command):
    trainer = {"accelerator": "cpu", "progress": "none"}
    train(config=tmp_path / "settings.yaml", output=tmp_path / "teacher", epochs=1, seed=1, trainer=trainer)
    words = command(tmp_path / "two", "--epochs=1", f"--teacher={tmp_path / 'teacher'}")
    two = subprocess.run(words, capture_output=True, text=True, timeout=480)
    assert two.returncode == 0, two.stderr
    settings = {"teacher": tmp_path / "teacher", "trainer": trainer}
    train(config=tmp_path / "settings.yaml", output=tmp_path / "one", batch_size=8, epochs=1, **settings)
    for ours, theirs in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        ours, theirs = ({name: float(value) for name, value in row.items()} for row in (ours, theirs))
        assert ours["train/distillation"] > 1e-5
        assert theirs == pytest.approx(ours, rel=1e-4)


@pytest.fixture
def two_processes(command, tmp_path):
    """Start a long training by two processes; return the first process, the PID of the other, and the run folder."""
    run = tmp_path / "run"
    with subprocess.Popen(
        command(run, "--epochs=100000"), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as first:
        deadline = time.monotonic() + 120
        while not (run / "last.ckpt").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        children = subprocess.run(["ps", "--ppid", str(first.pid), "-o", "pid="], capture_output=True, text=True)
        yield first, int(children.stdout.split()[0]), run
        if first.poll() is None:
            os.killpg(first.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_process_that_dies_ends_the_job_with_one_message(two_processes):
    first, second, run = two_processes
    os.kill(second, signal.SIGKILL)
    errors = first.communicate(timeout=60)[1]
    assert first.returncode == 1
    told = [line for line in errors.splitlines() if "msgformer: " in line]
    assert told == [
        "msgformer: error: process 2 of 2 has died (killed, crashed, or out of memory); progress is saved; resume with"
        f" 'msgformer train --resume {run}'"
    ]
    assert "Traceback" not in errors


@pytest.mark.slow
def test_the_first_process_does_not_outlive_the_others_either(two_processes):
    first, second, _ = two_processes
    first.kill()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _alive(second):
        time.sleep(0.5)
    assert not _alive(second)
    errors = first.stderr.read()
    assert len(re.findall(r"msgformer: error: process 1 of 2 has died", errors)) == 1
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_signal_to_one_process_stops_and_saves_both(two_processes):
    first, second, run = two_processes
    os.kill(second, signal.SIGTERM)
    errors = first.communicate(timeout=60)[1]
    assert first.returncode == 128 + signal.SIGTERM
    assert len(re.findall(rf"^stopped in epoch \d+ .*--resume {run}'$", errors, re.MULTILINE)) == 1
    assert "Traceback" not in errors
    assert not _alive(second)


def _alive(number):
    """Return whether a process runs; a zombie does not."""
    status = subprocess.run(["ps", "-p", str(number), "-o", "stat="], capture_output=True, text=True).stdout
    return bool(status) and not status.startswith("Z")

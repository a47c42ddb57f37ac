"""Moving averages of weights in trainings by two processes."""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from commands.parallel_runs import resumed, state_file
from commands.tiny import TINY, assert_same_run, rows, weights
from commands.tiny_dense import BACKBONE, DETECT, IMAGES, write_scenes
from msgformer.checkpoints.checkpoint_file import EMA_PREFIX, PREFIX
from msgformer.commands.train import train

PAIRWISE = [(False, 1, "32-true"), (False, 2, "bf16-mixed"), (True, 1, "bf16-mixed"), (True, 2, "32-true")]
"""EMA, accumulated batches and precision; every pair of values occurs (pairwise testing)."""

OTHERS = [(True, 1, "32-true"), (True, 2, "bf16-mixed"), (False, 1, "bf16-mixed"), (False, 2, "32-true")]
OTHERS += [(False, accumulate, "bf16-true") for accumulate in (1, 2)]

TOLERANCE = {"32-true": 1e-5, "bf16-mixed": 2e-3, "bf16-true": 1e-2}
"""Maximum difference between the weights of two processes and of one; all steps together change them by 2e-2."""

ALONE = {"accelerator": "cpu", "progress": "none"}
TWO_PROCESSES = {**ALONE, "devices": 2, "strategy": "ddp"}


def name_of(ema, accumulate, precision):
    return f"{'ema' if ema else 'plain'}-{accumulate}-{precision}"


def settings_of(data, output, ema, accumulate, precision, processes):
    """Return the arguments of a training whose steps do not depend on the number of processes."""
    trainer = ALONE if processes == 1 else TWO_PROCESSES
    return {
        "model": "msg_transformer_tiny",
        "data": str(data),
        "output": str(output),
        "epochs": 2,
        "img_size": 16,
        "batch_size": 8 // processes,
        "workers": 0,
        "model_args": {**TINY, "drop_path_rate": 0.0},  # what is random in the model is drawn for each process
        "augment": {"mixup": 0.0, "cutmix": 0.0},
        "optim": {"warmup_epochs": 0, "lr": 1e-2, "lr_batch": None, "eps": 1e-3, "ema": 0.9 if ema else None},
        "trainer": {**trainer, "precision": precision, "accumulate_grad_batches": accumulate},
        "report": False,
    }


def run_in_two_processes(trainings, folder):
    """Train in two processes; `trainings` are arguments of `train` by name."""
    file = folder / "trainings.json"
    file.write_text(json.dumps(trainings, default=str))
    script = Path(__file__).with_name("parallel_runs.py")
    paths = [str(script.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*program, str(script), str(file)], capture_output=True, text=True, timeout=800, env=environment
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Create 24 training images and 9 validation images, which two processes can't share evenly."""
    root = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for (subset, count), (label, name) in product([("train", 8), ("val", 3)], enumerate(["dark", "gray", "light"])):
        (root / subset / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(80 * label, 80 * label + 90, (16, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / subset / name / f"{number}.png")
    return root


def train_combinations(data, folder, combinations):
    """Train in two processes with each combination, and return the folder of the runs."""
    trainings = {name_of(*one): settings_of(data, folder / name_of(*one), *one, 2) for one in combinations}
    run_in_two_processes(trainings, folder)
    return folder


def check_run(run):
    """Check that all processes end with the saved weights, and that a resumed run ends the same."""
    assert [row["epoch"] for row in rows(run)] == ["1", "2"]
    final = weights(run)
    for state in (torch.load(state_file(run, rank)) for rank in (0, 1)):
        assert [name for name, value in final.items() if not torch.equal(state[name], value)] == []
    assert_same_run(resumed(run), run)


def check_average(run):
    """Check that the EMA lags behind the weights for all trained parameters."""
    final = weights(run)
    averaged = {name: value for name, value in final.items() if name.startswith(EMA_PREFIX)}
    assert averaged
    moved = [
        (value - final[PREFIX + name.removeprefix(EMA_PREFIX)]).abs().max().item()
        for name, value in averaged.items()
        if value.is_floating_point()
    ]
    assert sum(difference > 1e-6 for difference in moved) > 0.7 * len(moved)  # first stages may be frozen


def check_combination(folder, data, ema, accumulate, precision):
    run = folder / name_of(ema, accumulate, precision)
    check_run(run)
    if ema:
        check_average(run)
    alone = folder / f"{run.name}-alone"
    train(**settings_of(data, alone, ema, accumulate, precision, 1))
    ours, theirs = weights(alone), weights(run)
    assert ours.keys() == theirs.keys()
    assert any(name.startswith(EMA_PREFIX) for name in ours) == ema
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=0, atol=TOLERANCE[precision])


@pytest.fixture(scope="module")
def pairwise(data, tmp_path_factory):
    return train_combinations(data, tmp_path_factory.mktemp("pairwise"), PAIRWISE)


@pytest.fixture(scope="module")
def others(data, tmp_path_factory):
    return train_combinations(data, tmp_path_factory.mktemp("others"), OTHERS)


@pytest.mark.parametrize("combination", PAIRWISE, ids=lambda one: name_of(*one))
def test_two_processes_end_with_the_weights_of_one(combination, pairwise, data):
    check_combination(pairwise, data, *combination)


@pytest.mark.slow
@pytest.mark.parametrize("combination", OTHERS, ids=lambda one: name_of(*one))
def test_two_processes_end_with_the_weights_of_one_in_all_other_combinations(combination, others, data):
    check_combination(others, data, *combination)


@pytest.fixture(scope="module")
def varied(data, tmp_path_factory):
    """Train in two processes with EMA and settings that leave parameters without gradients."""
    folder = tmp_path_factory.mktemp("varied")
    base = settings_of(data, folder, True, 1, "32-true", 2)
    teacher = train(**settings_of(data, folder / "any_classifier", False, 1, "32-true", 1)).run
    sg_former = {"embed_dims": [16, 16, 16, 16], "depths": [1, 1, 2, 1], "num_heads": [2, 2, 2, 2]}
    changes = {
        "checkpointing": {"trainer": {**base["trainer"], "grad_checkpointing": True}},
        "teacher": {"teacher": str(teacher)},
        "drop_path": {"model_args": {**TINY, "drop_path_rate": 0.9}},
        "sgformer": {
            "model": "sgformer_small",
            "img_size": 64,
            "model_args": {**sg_former, "drop_path_rate": 0.5},
            "trainer": {**base["trainer"], "grad_checkpointing": True, "accumulate_grad_batches": 2},
        },
        "batch_norm": {"model": "test_resnet", "img_size": 32, "model_args": {}},
    }
    trainings = {name: {**base, **change, "output": str(folder / name)} for name, change in changes.items()}
    for task in ("detect", "segment"):
        scenes = write_scenes(task, folder / f"{task}-data", train_images=8 if task == "detect" else 16)
        trainings[task] = dense_settings(task, scenes, folder / task)
    run_in_two_processes(trainings, folder)
    return folder


def dense_settings(task, data, output):
    """Return the arguments of a training with frozen stages."""
    model = DETECT if task == "detect" else {"head": "upernet", "channels": 16}
    return {
        "task": task,
        "data": str(data),
        "output": str(output),
        "epochs": 2,
        "batch_size": 1 if task == "detect" else 2,  # two steps in each epoch: the average begins with the third
        "workers": 0,
        "model_args": BACKBONE,
        f"{task}_images": IMAGES[task] | ({"test_side": 128, "test_max_side": 128} if task == "detect" else {}),
        "optim": {"warmup_epochs": 0, "lr": 1e-3, "lr_batch": None, "ema": 0.9},
        "trainer": {**TWO_PROCESSES, "accumulate_grad_batches": 2, "grad_checkpointing": True},
        "report": False,
        task: {**model, "frozen_stages": 1},
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["checkpointing", "teacher", "drop_path", "sgformer", "batch_norm", "detect", "segment"]
)
def test_two_processes_average_all_trained_parameters(name, varied):
    check_run(varied / name)
    check_average(varied / name)

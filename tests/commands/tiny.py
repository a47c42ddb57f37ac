"""Trainings of about a second, and comparisons of their runs."""

import csv

import torch

from msgformer.checkpoints.checkpoint_file import read_training_checkpoint
from msgformer.commands.train import train

TINY = {"embed_dim": 16, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2, "shuffle_sizes": [2, 2]}


def tiny_run(data, output, **settings):
    """Train a tiny run with all random operations, so that equal results mean equal random states."""
    return train(
        **{
            "model": "msg_transformer_tiny",
            "data": data,
            "output": output,
            "epochs": 3,
            "img_size": 16,
            "batch_size": 4,
            "workers": 0,
            "model_args": {**TINY, "drop_path_rate": 0.5, "drop_rate": 0.5},
            "augment": {"mixup": 0.8, "cutmix": 1.0, "smoothing": 0.1},
            "optim": {"warmup_epochs": 1, "lr": 1e-3, "lr_batch": None},
            "trainer": {"accelerator": "cpu", "progress": "none"},
            "report": False,
            **settings,
        }
    )


def weights(run):
    return read_training_checkpoint(run / "last.ckpt")["state_dict"]


def assert_same_run(ours, theirs):
    first, second = weights(ours), weights(theirs)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert rows(ours) == rows(theirs)


def rows(run):
    """Return the rows of metrics.csv without the times, as text."""
    with (run / "metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def largest_difference(ours, theirs, name):
    """Return the largest difference of any number in two checkpoints and its place; everything else must be equal."""
    return max(_differences(*(read_training_checkpoint(run / name) for run in (ours, theirs)), ""))


def _differences(first, second, where):
    assert type(first) is type(second), where
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first.keys() - {"seconds"}:
            yield from _differences(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for number, pair in enumerate(zip(first, second, strict=True)):
            yield from _differences(*pair, f"{where}/{number}")
    elif isinstance(first, torch.Tensor):
        assert first.shape == second.shape, where
        difference = (first.double() - second.double()).abs().max().item() if first.numel() else 0.0
        yield difference, where if difference else ""
    elif isinstance(first, int | float):
        yield float(abs(first - second)), where if first != second else ""
    else:
        assert first == second, where

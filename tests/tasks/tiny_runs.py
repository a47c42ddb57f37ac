"""Trainings of a second or two, one per task, and their images."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

import msgformer
from commands.trained import MODEL_ARGS, make_images
from msgformer.tasks import TASKS, get_task

BACKBONE = {"embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4}
MASK_RCNN = {
    "head": "mask_rcnn",
    "channels": 16,
    "fc_channels": 32,
    "anchor_size": 16,
    "train_proposals": 50,
    "test_proposals": 50,
    "rois_per_image": 32,
}
SETTINGS = {
    "classify": {"model_args": MODEL_ARGS, "img_size": 16, "batch_size": 8},
    "detect": {
        "model_args": BACKBONE,
        "batch_size": 2,
        "detect": MASK_RCNN,
        "detect_images": {"train_sides": [64], "max_side": 96, "crop": 0.0, "test_side": 64, "test_max_side": 96},
    },
    "segment": {
        "model_args": BACKBONE,
        "batch_size": 2,
        "segment": {"head": "semantic_fpn", "channels": 16},
        "segment_images": {"short_side": 64, "long_side": 64, "crop": 64},
    },
}
TASK_NAMES = tuple(TASKS)
OPTIONS = {"classify": {}, "detect": {"threshold": 0.0}, "segment": {}}
"""Options with which even these barely trained models predict objects."""


@dataclass(frozen=True)
class TinyRun:
    """A run and its data.

    Attributes:
        task: Name of its task.
        folder: The run folder.
        data: The data folder.
        images: PNG files of some of the images.
    """

    task: str
    folder: Path
    data: Path
    images: list[Path]


def make_data(task: str, folder: Path) -> Path:
    """Write a small data set of a task."""
    if task == "classify":
        return make_images(folder, per_class=4)
    get_task(task).write_scenes(folder, {"train": 4, "val": 3}, 0)
    return folder


def make_tiny_run(task: str, folder: Path, **settings) -> TinyRun:
    """Train a tiny model of a task for one epoch, deterministically."""
    data = make_data(task, folder / f"{task}-data") if "data" not in settings else settings.pop("data")
    run = msgformer.train(
        **{
            "task": task,
            "model": "msg_transformer_tiny",
            "data": data,
            "output": folder / task,
            "epochs": 1,
            "workers": 0,
            "optim": {"warmup_epochs": 0, "lr": 1e-3, "lr_batch": None},
            "trainer": {"accelerator": "cpu", "progress": "none"},
            "report": False,
            **SETTINGS[task],
            **settings,
        }
    ).run
    return TinyRun(task, run, data, image_files(task, data))


def image_files(task: str, data: Path) -> list[Path]:
    """Write three images of a data set as PNG files, of different classes or sizes."""
    folder = data.with_name(f"{task}-images")
    folder.mkdir(exist_ok=True)
    if task == "classify":
        images = [Image.open(data / name / "00.png") for name in ("dark", "grey", "light")]
    else:
        found = [path for path in sorted(data.rglob("*.jpg")) if "val" in path.parent.name]
        sizes = ((96, 96), (128, 96), (80, 120))
        images = [Image.open(path).resize(size) for path, size in zip(found, sizes, strict=True)]
    paths = [folder / f"{name}.png" for name in "abc"]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    return paths


@pytest.fixture(scope="module", params=TASK_NAMES)
def run_of_each_task(request, runs):
    """Return the tiny run of each task in turn; a test module imports it as ``run``."""
    return runs(request.param)

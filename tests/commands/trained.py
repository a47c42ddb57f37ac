"""A tiny trained model for tests."""

import csv
from pathlib import Path

from PIL import Image

from msgformer.commands.evaluate import evaluate
from msgformer.commands.train import train
from msgformer.tasks.export.source import ExportSource
from msgformer.tasks.loaded_model import open_any

CLASSES = ("dark", "grey", "light")
MODEL_ARGS = {"embed_dim": 16, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2, "shuffle_sizes": [2, 2]}
CPU = {"device": "cpu", "workers": 0}


def make_images(root: Path, per_class: int = 10, classes=CLASSES) -> Path:
    """Create class folders of small images: the brightness determines the class, the left half is darker."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            grey = 40 + 80 * label + number
            picture = Image.new("RGB", (20, 16), (grey, grey, 255 - grey))
            picture.paste((grey // 2,) * 3, (0, 0, 10, 16))
            picture.save(root / name / f"{number:02d}.png")
    return root


def make_run(data: Path, output: Path, **settings) -> Path:
    """Train a run of two epochs on images of 16 x 16."""
    return train(
        **{
            "model": "msg_transformer_tiny",
            "data": data,
            "epochs": 2,
            "output": output,
            "img_size": 16,
            "batch_size": 8,
            "workers": 0,
            "model_args": MODEL_ARGS,
            "optim": {"warmup_epochs": 0, "lr": 1e-2},
            "trainer": {"accelerator": "cpu", "progress": "none"},
            "report": False,
            **settings,
        }
    ).run


def open_source(model, img_size: tuple[int, int] | None = None) -> ExportSource:
    """Open a model as it is exported and timed."""
    opened = open_any(model, img_size=img_size)
    return opened.task.export_source(opened, img_size)


def scored(model, folder=None, **options):
    """Evaluate, and return the names of the scored images."""
    output = model.parent / "scores"
    evaluate(model, folder, output=output, overwrite=True, **CPU, **options)
    with (output / "predictions.csv").open(newline="") as file:
        return [row["image"] for row in csv.DictReader(file)]

"""Subsets that detectors and segmenters are evaluated on."""

import csv
import json
import shutil

import pytest

from commands.trained import CPU
from msgformer.commands.evaluate import evaluate
from msgformer.data.loading.split import read_split
from msgformer.errors import UserError

TASKS = ["detect", "segment"]


def add_test_images(task, data, count):
    """Copy the first validation images to a subset for a test."""
    if task == "detect":
        content = json.loads((data / "annotations" / "instances_val.json").read_text())
        content["images"] = content["images"][:count]
        kept = {image["id"] for image in content["images"]}
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] in kept]
        (data / "annotations" / "instances_test.json").write_text(json.dumps(content))
        folder = next(path for path in data.rglob("val") if path.is_dir())
        shutil.copytree(folder, folder.with_name("test"))
        return
    for kind in ("images", "annotations"):
        (data / kind / "test").mkdir()
        for path in sorted((data / kind / "validation").iterdir())[:count]:
            shutil.copy(path, data / kind / "test")


@pytest.mark.parametrize("task", TASKS)
def test_subsets_are_evaluated(task, runs, tmp_path, capsys):
    run = runs(task)
    data = shutil.copytree(run.data, tmp_path / "data")
    add_test_images(task, data, 2)
    counts = {split: evaluate(run.folder, data, split=split, **CPU) for split in ("train", "val", "test")}
    assert {split: result.images for split, result in counts.items()} == {"train": 4, "val": 3, "test": 2}
    assert counts["test"].data == f"the test images of {data}"
    assert evaluate(run.folder, data, **CPU).images == 3
    assert capsys.readouterr().err == ""
    assert evaluate(run.folder, split="train", **CPU).images == 4
    with pytest.raises(UserError, match="test"):
        evaluate(run.folder, split="test", **CPU)
    with pytest.raises(UserError, match="split: all is for data without subsets; give train, val or test"):
        evaluate(run.folder, data, split="all", **CPU)


@pytest.mark.parametrize("task", TASKS)
def test_training_images_among_the_scored_ones_are_warned_of(task, runs, tmp_path, capsys):
    run = runs(task)
    folder = shutil.copytree(run.folder, tmp_path / "run")
    names = read_split(folder, "val")
    with (folder / "split.csv").open("a", newline="") as file:
        csv.writer(file).writerow(("train", "", names[0]))
    evaluate(folder, run.data, **CPU)
    assert "warning: 1 of the 3 scored images are training images of" in capsys.readouterr().err


@pytest.mark.parametrize("task", TASKS)
def test_moved_data_is_named(task, runs, tmp_path):
    run = runs(task)
    away = run.data.rename(tmp_path / "away")
    try:
        with pytest.raises(UserError, match=r"the run's data: no such file or folder: .*; if it moved, give --data"):
            evaluate(run.folder, **CPU)
        assert evaluate(run.folder, away, **CPU).images == 3
    finally:
        away.rename(run.data)

"""Splits of detection data without subsets, and the images that are scored afterwards."""

import json
import shutil

import pytest

import msgformer
from commands.trained import CPU
from msgformer.commands.evaluate import evaluate
from msgformer.commands.train import train
from msgformer.data.loading.split import read_split
from msgformer.errors import UserError
from msgformer.tasks import get_task
from tasks.tiny_runs import SETTINGS


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Write scenes with one annotation file for all images."""
    root = tmp_path_factory.mktemp("flat") / "data"
    get_task("detect").write_scenes(root, {"train": 8, "val": 1}, 0)
    (root / "annotations" / "instances_val.json").unlink()
    shutil.rmtree(root / "images" / "val")
    (root / "annotations" / "instances_train.json").rename(root / "annotations" / "instances_default.json")
    return root


def make_run(data, output, **settings):
    settings = {"epochs": 1, "workers": 0, "report": False, "val_fraction": 0.25, **SETTINGS["detect"], **settings}
    if {"folds", "split_file"} & settings.keys():
        del settings["val_fraction"]
    start = {"optim": {"warmup_epochs": 0}, "trainer": {"accelerator": "cpu", "progress": "none"}}
    model = "msg_transformer_tiny"
    return msgformer.train(task="detect", model=model, data=data, output=output, **start, **settings)


@pytest.fixture(scope="module")
def run(data):
    return make_run(data, data.parent / "run").run


def scored(model, folder=None, **options):
    """Evaluate, and return the number of the scored images."""
    return evaluate(model, folder, **CPU, **options).images


def test_the_data_of_a_run_is_scored_on_its_held_out_images(run, data, capsys):
    assert (len(read_split(run, "train")), len(read_split(run, "val"))) == (4, 4)
    assert scored(run) == scored(run, split="val") == 4
    assert scored(run, split="train") == scored(run, data, split="train") == 4
    capsys.readouterr()
    assert scored(run, data) == 4
    message = capsys.readouterr().err
    assert "the 4 that it held out (split.csv) are scored, of 8; --split all scores all" in message
    assert scored(run, data, split="all") == scored(run, split="all") == 8
    assert capsys.readouterr().err.count("warning: 4 of the 8 scored images are training images of") == 2
    with pytest.raises(UserError, match="has no test images; give --data, or another --split"):
        scored(run, split="test")


def test_copied_and_other_data(run, data, tmp_path, capsys):
    copy = shutil.copytree(data, tmp_path / "copy")
    assert scored(run, copy) == 4
    content = json.loads((copy / "annotations" / "instances_default.json").read_text())
    gone = next(image for image in content["images"] if read_split(run, "train")[0].endswith(image["file_name"]))
    content["images"].remove(gone)
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != gone["id"]]
    (copy / "annotations" / "instances_default.json").write_text(json.dumps(content))
    capsys.readouterr()
    assert scored(run, copy) == 7
    assert "warning: 3 of the 7 scored images are training images of" in capsys.readouterr().err
    with pytest.raises(UserError, match="has no val images: it has no subsets"):
        scored(run, copy, split="val")


def test_all_images_are_trained_on(data, tmp_path):
    result = make_run(data, tmp_path / "run", val_fraction=0, epochs=2, report=True)
    assert (result.epoch, result.epochs, set(result.scores.values())) == (2, 2, {None})
    assert result.table().startswith("trained 2 epochs on all images, without validation (")
    assert (len(read_split(result.run, "train")), read_split(result.run, "val")) == (8, [])
    assert "There are no held-out images" in (result.run / "report.html").read_text()
    with pytest.raises(UserError, match=r"has no held-out images: it was trained on all images .*; give --data FOLDER"):
        scored(result.run)
    assert train(resume=result.run).epochs == 2


def test_splits_by_file_and_fold(run, data, tmp_path):
    file = tmp_path / "mine.csv"
    text = (run / "split.csv").read_text()
    name = read_split(run, "train")[0]
    file.write_text(text.replace(f"train,,{name}", f"test,,{name}"))
    again = make_run(data, tmp_path / "again", split_file=file).run
    file.unlink()
    assert [len(read_split(again, subset)) for subset in ("train", "val", "test")] == [3, 4, 1]
    assert scored(again, split="test") == scored(again, data, split="test") == 1
    assert train(resume=again).epochs == 1
    fold = make_run(data, tmp_path / "fold", folds=4, fold=2, split_seed=3).run
    assert len(read_split(fold, "val")) == 2
    assert scored(fold) == 2


def test_data_with_subsets_is_not_split(tmp_path):
    get_task("detect").write_scenes(tmp_path / "data", {"train": 2, "val": 1}, 0)
    for settings in ({"val_fraction": 0}, {"folds": 2, "fold": 1}, {"split_by": "x"}, {"split_seed": 3}):
        name = next(iter(settings))
        with pytest.raises(UserError, match=rf"{name}.* is for data without validation images"):
            make_run(tmp_path / "data", tmp_path / "run", **settings)

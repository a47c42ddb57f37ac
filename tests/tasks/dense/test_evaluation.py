"""Evaluation of detectors and segmenters."""

import csv
import json
import shutil

import pytest

import msgformer

CPU = {"device": "cpu", "workers": 0, "progress": "none"}


@pytest.fixture(scope="module", params=["detect", "segment"])
def run(request, runs):
    return runs(request.param)


@pytest.fixture(scope="module")
def broken_data(run, tmp_path_factory):
    """The data of the run with a truncated second validation image."""
    data = shutil.copytree(run.data, tmp_path_factory.mktemp("data") / "broken")
    second = sorted(path for path in data.rglob("*.jpg") if "val" in path.parent.name)[1]
    second.write_bytes(second.read_bytes()[:100])
    return data, second


def test_evaluation_skips_unreadable_images(run, model, broken_data, tmp_path):
    data, second = broken_data
    with pytest.raises(msgformer.UserError, match=second.name):
        msgformer.evaluate(model, data, **CPU)
    result = msgformer.evaluate(model, data, on_bad_image="skip", output=tmp_path / "scores", **CPU)
    assert result.images == 2
    (skipped,) = result.skipped
    assert second.name in skipped.reason
    assert "left out" in result.table()
    alone = shutil.copytree(data, tmp_path / "alone")
    (alone / second.relative_to(data)).unlink()
    if run.task == "detect":
        (path,) = [path for path in alone.rglob("*.json") if "val" in path.name]
        content = json.loads(path.read_text())
        (gone,) = [one["id"] for one in content["images"] if one["file_name"] == second.name]
        content["images"] = [one for one in content["images"] if one["id"] != gone]
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] != gone]
        path.write_text(json.dumps(content))
    else:
        (alone / "annotations" / "validation" / f"{second.stem}.png").unlink()
    expected = msgformer.evaluate(model, alone, **CPU)
    assert (expected.images, expected.skipped) == (2, [])
    assert result.scores == pytest.approx(expected.scores)
    for name, scores in expected.per_class.items():
        assert result.per_class[name] == pytest.approx(scores)
    stored = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert stored["images"] == 2


def test_several_checkpoints_are_compared(run, model, tmp_path):
    models = [run.folder, run.folder / "last.ckpt", model]
    comparison = msgformer.evaluate(models, output=tmp_path / "out", **CPU)
    assert len(comparison.results) == 3
    alone = msgformer.evaluate(run.folder, **CPU)
    assert comparison.results[0] == alone
    table = comparison.table().splitlines()
    assert len(table) == 4
    assert "CHECKPOINT" in table[0]
    with (tmp_path / "out" / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    metric = "box_ap" if run.task == "detect" else "miou"
    assert float(rows[0][metric]) == pytest.approx(alone.scores[metric])
    assert rows[0]["checkpoint"].endswith("best.ckpt")
    folders = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert folders == [f"{number}-{run.folder.name}" for number in (1, 2, 3)]


def test_models_of_different_tasks_are_refused_before_evaluation(runs, tmp_path, monkeypatch):
    models = [msgformer.load(runs(task).folder, device="cpu") for task in ("segment", "detect")]
    for model in models:
        monkeypatch.setattr(type(model.opened.task), "evaluate", None)
    with pytest.raises(msgformer.UserError, match=r"^model: only models of one task can be compared"):
        msgformer.evaluate(models, output=tmp_path / "out", **CPU)
    assert not (tmp_path / "out").exists()

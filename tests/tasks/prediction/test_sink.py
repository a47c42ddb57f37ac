"""Predictions of detectors and segmenters in files and folders, and how an interrupted call resumes."""

import csv
import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import msgformer
from msgformer.cli import main as cli
from msgformer.tasks.prediction import sink as prediction_sink

CPU = {"device": "cpu", "workers": 0, "progress": "none"}
OPTIONS = {"detect": {"threshold": 0.05}, "segment": {}}


@pytest.fixture(scope="module", params=["detect", "segment"])
def run(request, runs):
    return runs(request.param)


@pytest.fixture(scope="module")
def images(run, tmp_path_factory):
    """The images of the run, an unreadable one, and the first one again."""
    broken = tmp_path_factory.mktemp("broken") / "broken.png"
    broken.write_bytes(b"no image")
    return [*run.images[:2], broken, run.images[2], run.images[0]]


@pytest.fixture
def predict(run, model, images):
    def call(**options):
        given = {**CPU, **OPTIONS[run.task], "on_bad_image": "skip", **options}
        return msgformer.predict(model, given.pop("images", images), **given)

    return call


def parsed(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return path.read_bytes()


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_file_holds_the_returned_predictions(suffix, predict, model, images, tmp_path):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    output = tmp_path / f"out.{suffix}"
    result = predict(output=output)
    assert (result.images, result.predictions, result.skipped) == (5, [], [str(images[2])])
    returned = predict()
    assert len(returned.predictions) == 4
    layout = model.opened.task.predictor(model.opened, model.config).layout
    found = list(prediction_sink.PredictionFile(output, suffix, layout).recorded())
    assert [one.image for one in found] == list(map(str, images))
    assert "broken.png" in found[2].error
    for one, other in zip([*found[:2], *found[3:]], returned.predictions, strict=True):
        assert one.is_close(other)
        assert one.summary() == other.summary()


def test_standard_output(run, images, capfdbinary, monkeypatch):
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "__stdout__", SimpleNamespace(buffer=stream))
    words = ["predict", str(run.folder), *map(str, images), "--output", "-", "--on_bad_image", "skip"]
    assert cli.main([*words, "--device", "cpu", "--workers", "0", "--progress", "none"]) == 0
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [one["image"] for one in lines] == list(map(str, images))
    assert capfdbinary.readouterr().out == b""


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_truncated_file_is_resumed(suffix, predict, tmp_path):
    output = tmp_path / f"out.{suffix}"
    predict(output=output)
    content = output.read_bytes()
    for cut in sorted({0, 1, *np.linspace(2, len(content), 6).astype(int)}):
        output.write_bytes(content[:cut])
        result = predict(output=output, skip_completed=True)
        assert result.images == 5
        assert output.read_bytes() == content, cut


def test_parquet_file_is_resumed_from_its_journal(predict, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    whole, output = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    predict(output=whole)
    predict(output=tmp_path / "whole.jsonl")
    lines = (tmp_path / "whole.jsonl").read_bytes()
    output.with_name("out.parquet.partial.jsonl").write_bytes(lines[: len(lines) * 2 // 3])
    assert predict(output=output, skip_completed=True).images == 5
    assert parquet.read_table(output).equals(parquet.read_table(whole))
    assert not output.with_name("out.parquet.partial.jsonl").exists()


def test_folder_has_drawn_images_and_predictions(run, predict, images, tmp_path):
    result = predict(output=tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    endings = [".png"] if run.task == "detect" else [".png", "-classes.png"]
    expected = [f"{number:04d}-{images[number - 1].stem}{ending}" for number in (1, 2, 4, 5) for ending in endings]
    assert names == sorted([*expected, "predictions.json"])
    stored = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [one["image"] for one in stored] == list(map(str, images))
    for one, path in zip(stored, images, strict=True):
        if "error" not in one:
            with Image.open(one["drawn"]) as drawn, Image.open(path) as image:
                assert drawn.size == image.size
    assert len(result.predictions) == 4


@pytest.mark.parametrize("stop", [0, 1, 2, 4])
def test_interrupted_folder_is_resumed(stop, predict, tmp_path, monkeypatch):
    whole, output = tmp_path / "whole", tmp_path / "out"
    expected = predict(output=whole)
    written = 0
    write = prediction_sink.PredictionSink._write

    def interrupted(self, batch):
        nonlocal written
        if written == stop:
            if batch[0].error is None:
                batch[0].save_drawn(self.folder, self.count + 1)  # the drawn image is written, its record isn't
            raise KeyboardInterrupt
        written += 1
        write(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(prediction_sink.PredictionSink, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predict(output=output)
    assert not (output / "predictions.json").exists()
    result = predict(output=output, skip_completed=True)
    assert (result.images, result.skipped) == (expected.images, expected.skipped)
    assert [one.image for one in result.predictions] == [one.image for one in expected.predictions]
    assert sorted(path.name for path in output.iterdir()) == sorted(path.name for path in whole.iterdir())
    for path in whole.iterdir():
        content = (output / path.name).read_bytes()
        assert content.replace(str(output).encode(), str(whole).encode()) == path.read_bytes(), path.name
    again = predict(output=output, skip_completed=True)  # resumes a complete folder
    assert [one.image for one in again.predictions] == [one.image for one in expected.predictions]


def test_other_images_or_another_threshold_are_refused_on_resume(run, predict, images, tmp_path):
    output = tmp_path / "out.jsonl"
    predict(output=output, images=images[:2])
    before = output.read_bytes()
    with pytest.raises(
        msgformer.UserError, match=r"^skip_completed: prediction 1 in .* is of .*a\.png, but .*b\.png is"
    ):
        predict(output=output, skip_completed=True, images=images[1:])
    if run.task == "detect":
        with pytest.raises(msgformer.UserError, match=r"^skip_completed: .* was made by another model or other"):
            predict(output=output, skip_completed=True, threshold=0.9)
        predict(output=tmp_path / "few.jsonl", images=images[:2], threshold=0.9)
        with pytest.raises(msgformer.UserError, match=r"^skip_completed: .* was made by another model or other"):
            predict(output=tmp_path / "few.jsonl", skip_completed=True)
    assert output.read_bytes() == before


@pytest.mark.parametrize(("batch_size", "workers"), [(3, 0), (1, 1), (3, 1)])
def test_predictions_do_not_depend_on_batches_and_workers(batch_size, workers, predict):
    expected = predict(batch_size=1)
    found = predict(batch_size=batch_size, workers=workers)
    assert found.skipped == expected.skipped
    for one, other in zip(found.predictions, expected.predictions, strict=True):
        assert one.image == other.image
        if hasattr(one, "objects"):
            assert [o.label for o in one.objects] == [o.label for o in other.objects]
            np.testing.assert_allclose([o.score for o in one.objects], [o.score for o in other.objects], atol=1e-4)
            np.testing.assert_allclose([o.box for o in one.objects], [o.box for o in other.objects], atol=0.02)
        else:
            assert one.classes == pytest.approx(other.classes, abs=0.05)


def test_contact_sheet(predict, tmp_path):
    result = predict(contact_sheet=tmp_path / "sheet.png")
    assert result.contact_sheets == [tmp_path / "sheet.png"]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 160
        assert len(set(sheet.convert("RGB").resize((64, 64)).getdata())) > 50


def test_unreadable_image_stops(predict, images, tmp_path):
    output = tmp_path / "out.csv"
    with pytest.raises(msgformer.UserError, match=r"broken\.png"):
        predict(output=output, on_bad_image="stop")
    names = [row["image"] for row in csv.DictReader(output.open(newline=""))]
    assert list(dict.fromkeys(names)) == [str(path) for path in images[:2]]

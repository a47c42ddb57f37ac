import csv
import gc
import io
import json
import os
import signal
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image

import msgformer
from commands.trained import CPU, make_images, make_run
from msgformer.cli.main import main
from msgformer.commands.predict import iter_predictions, predict
from msgformer.data.files.inputs import FileInput
from msgformer.errors import UserError
from msgformer.tasks.classification.record import Prediction
from msgformer.tasks.prediction import stream as prediction_stream
from msgformer.tasks.prediction.file import PredictionFile


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def data(folder):
    return make_images(folder / "data")


@pytest.fixture(scope="module")
def run(data, folder):
    return make_run(data, folder / "run")


@pytest.fixture(scope="module")
def expected(run, data):
    return predict(run, [data], **CPU).predictions


def stored(path):
    """Read the predictions in a file of any format: image, classes, probabilities, error."""
    if path.suffix == ".parquet":
        from pyarrow.parquet import read_table

        rows = read_table(path).to_pylist()
        return [(row["image"], row["classes"], row["probabilities"], row["error"]) for row in rows]
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            rows = [list(row.values()) for row in csv.DictReader(file)]
        return [
            (row[0], [c for c in row[1:-1:2] if c], [float(p) for p in row[2:-1:2] if p], row[-1] or None)
            for row in rows
        ]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [(row["image"], row.get("classes", []), row.get("probabilities", []), row.get("error")) for row in rows]


def assert_stored(path, predictions):
    rows = stored(path)
    assert [row[0] for row in rows] == [one.image for one in predictions]
    for (_, classes, probabilities, error), one in zip(rows, predictions, strict=True):
        assert (classes, error) == (one.classes, one.error)
        assert probabilities == pytest.approx(one.probabilities, rel=1e-5)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("workers", [0, 1])
def test_predictions_are_written_in_order(run, data, expected, tmp_path, suffix, workers):
    output = tmp_path / f"out.{suffix}"
    result = predict(run, [data], output=output, batch_size=4, workers=workers, device="cpu")
    assert_stored(output, expected)
    assert (result.images, result.predictions, result.output) == (30, [], output)
    assert result.table() == f"30 images in {output}"
    assert list(tmp_path.iterdir()) == [output]


def test_folders_patterns_shards_and_lists_come_in_their_order(run, data, tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(data / "light" / "03.png", "x/03.png")
    listed = f"{data}/grey/07.png\n{tmp_path}/set.tar\n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed)))
    result = predict(run, [data / "dark" / "0[12].png", "-", data / "light" / "00.png"], **CPU)
    assert [one.image for one in result.predictions] == [
        f"{data}/dark/01.png",
        f"{data}/dark/02.png",
        f"{data}/grey/07.png",
        f"{tmp_path}/set.tar:x/03.png",
        f"{data}/light/00.png",
    ]
    in_folder = predict(run, [data / "light" / "03.png"], **CPU).predictions[0]
    assert result.predictions[3].probabilities == pytest.approx(in_folder.probabilities, rel=1e-5)


def test_a_stream_of_predictions(run, data, expected):
    assert msgformer.iter_predictions is iter_predictions
    found = iter_predictions(run, [data], batch_size=4, **CPU)
    assert next(found).image == expected[0].image
    assert len(list(found)) == 29


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("cut", [0, 1, 60, 200, -1])
def test_a_killed_call_resumes(run, data, expected, tmp_path, suffix, cut):
    """The file is cut anywhere, also within a line; a Parquet file is JSON lines until it is complete."""
    output = tmp_path / f"out.{suffix}"
    predict(run, [data], output=tmp_path / ("out.jsonl" if suffix == "parquet" else output.name), **CPU)
    growing = output if suffix != "parquet" else Path(f"{output}.partial.jsonl")
    whole = next(tmp_path.iterdir()).read_bytes()
    next(tmp_path.iterdir()).unlink()
    growing.write_bytes(whole[:cut])
    with pytest.raises(UserError, match=r"exists; pass --overwrite or another --output, or --skip_completed"):
        predict(run, [data], output=output, **CPU)
    result = predict(run, [data], output=output, skip_completed=True, batch_size=7, **CPU)
    assert result.images == 30
    assert_stored(output, expected)
    assert list(tmp_path.iterdir()) == [output]
    assert predict(run, [data], output=output, skip_completed=True, **CPU).images == 30  # and once more: nothing to do
    assert_stored(output, expected)


def test_resuming_predicts_only_the_remaining_images(run, data, tmp_path, monkeypatch):
    output = tmp_path / "out.jsonl"
    predict(run, [data / "dark"], output=output, **CPU)
    asked = []
    monkeypatch.setattr(prediction_stream.PreprocessedDataset, "__getitem__", loads(asked))
    predict(run, [data], output=output, skip_completed=True, **CPU)
    assert [Path(name).parent.name for name in asked].count("dark") == 1  # which shows that the model is the same
    assert len(asked) == 21


def loads(asked):
    getitem = prediction_stream.PreprocessedDataset.__getitem__

    def load(self, wanted):
        asked.append(wanted.name)
        return getitem(self, wanted)

    return load


def test_an_interrupted_call_leaves_whole_predictions(run, data, expected, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out.csv"
    asked = []
    load = loads(asked)

    def interrupted(self, wanted):
        if len(asked) == 13:
            os.kill(os.getpid(), signal.SIGINT)
        return load(self, wanted)

    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # where the tests run in the background it's ignored
    try:
        with monkeypatch.context() as patched:
            patched.setattr(prediction_stream.PreprocessedDataset, "__getitem__", interrupted)
            with pytest.raises(KeyboardInterrupt):
                predict(run, [data], output=output, batch_size=4, **CPU)
    finally:
        signal.signal(signal.SIGINT, before)
    assert_stored(output, expected[:12])
    assert "stopped after 12 images; --skip_completed continues from there" in capsys.readouterr().err
    predict(run, [data], output=output, skip_completed=True, **CPU)
    assert_stored(output, expected)


def test_a_file_of_other_predictions_is_not_resumed(run, data, folder, tmp_path):
    output = tmp_path / "out.jsonl"
    predict(run, [data / "grey"], output=output, **CPU)
    for images, message in (
        ([data], r"prediction 1 in .* is of .*grey/00\.png, but .*dark/00\.png is given there"),
        ([data / "grey" / "00.png"], r"prediction 2 .*but no image is given there"),
    ):
        with pytest.raises(UserError, match=message):
            predict(run, images, output=output, skip_completed=True, **CPU)
    with pytest.raises(UserError, match="was made by another model or other options"):
        predict(run, [data / "grey"], 2, output=output, skip_completed=True, **CPU)
    other = make_run(data, folder / "other", seed=7, epochs=1)
    with pytest.raises(UserError, match="was made by another model or other options"):
        predict(other, [data / "grey"], output=output, skip_completed=True, **CPU)
    output.write_text("hello\n")
    with pytest.raises(UserError, match=r"record 1 of .*out\.jsonl is no prediction"):
        predict(run, [data / "grey"], output=output, skip_completed=True, **CPU)
    (tmp_path / "out.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"out\.csv has different columns"):
        predict(run, [data / "grey"], output=tmp_path / "out.csv", skip_completed=True, **CPU)
    (tmp_path / "out.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"out\.parquet isn't a file of predictions"):
        predict(run, [data / "grey"], output=tmp_path / "out.parquet", skip_completed=True, **CPU)


def test_a_complete_parquet_file_is_not_extended(run, data, tmp_path):
    output = tmp_path / "out.parquet"
    predict(run, [data / "dark"], output=output, **CPU)
    with pytest.raises(UserError, match=r"is complete, without .*grey/00\.png"):
        predict(run, [data / "dark", data / "grey"], output=output, skip_completed=True, **CPU)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_images_have_a_row_in_the_file(run, image_folder, tmp_path, suffix, workers):
    images = image_folder(per_class=3)
    (images / "dark" / "01.png").write_bytes(b"no image")
    machine = {"device": "cpu", "workers": workers, "batch_size": 2}
    output = tmp_path / f"out.{suffix}"
    with pytest.raises(UserError, match=r"^can't read image .*dark/01\.png"):
        predict(run, [images], output=output, **machine)
    growing = output if suffix != "parquet" else Path(f"{output}.partial.jsonl")
    assert len(stored(growing)) == 1  # what came before it
    result = predict(run, [images], output=output, skip_completed=True, on_bad_image="skip", **machine)
    assert (result.images, result.skipped) == (6, [str(images / "dark" / "01.png")])
    rows = stored(output)
    assert [row[3] is not None for row in rows] == [False, True, False, False, False, False]
    assert rows[1][3].startswith("can't read image")


def test_a_missing_file_in_a_list_is_an_unreadable_image(run, data, monkeypatch):
    listed = f"/nowhere/1.png\n{data}/dark/00.png\n".encode()
    for on_bad_image in ("stop", "skip"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed)))
        if on_bad_image == "stop":
            with pytest.raises(UserError, match=r"no such image: /nowhere/1\.png"):
                predict(run, ["-"], **CPU)
        else:
            assert predict(run, ["-"], on_bad_image="skip", **CPU).skipped == ["/nowhere/1.png"]


def test_standard_output_can_be_piped(run, data, expected, capfd):
    assert main(["predict", str(run), str(data), "--output", "-", "--device", "cpu", "--workers", "0"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [json.loads(line)["image"] for line in lines] == [one.image for one in expected]
    assert main(["predict", str(run), f"{data}/dark/*", "--output", "-", "--format", "csv", "--device", "cpu"]) == 0
    assert len(list(csv.DictReader(io.StringIO(capfd.readouterr().out)))) == 10


def test_memory_does_not_grow_with_the_number_of_images(run, data, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{data}/dark/00.png\n".encode() * 100)))
    alive = []
    write = PredictionFile.write

    def count(self, predictions):
        write(self, predictions)
        alive.append(sum(type(one) in (Prediction, FileInput) for one in gc.get_objects()))

    monkeypatch.setattr(PredictionFile, "write", count)
    assert predict(run, ["-"], output=tmp_path / "out.csv", batch_size=10, **CPU).images == 100
    assert len(alive) == 11
    assert max(alive) <= alive[0] + 10


def test_a_contact_sheet_shows_the_images(run, data, tmp_path):
    result = predict(run, [data], contact_sheet=tmp_path / "sheet.png", **CPU)
    assert result.contact_sheets == [tmp_path / "sheet.png"]
    assert Image.open(tmp_path / "sheet.png").size == (8 * 170 + 10, 4 * 200 + 10)
    assert result.table().endswith(f"contact sheet {tmp_path / 'sheet.png'}")


def test_unusable_outputs_are_named(run, data, tmp_path, monkeypatch):
    (tmp_path / "there.png").touch()
    for options, message in (
        ({"output": tmp_path / "out.txt"}, r"output: .*out\.txt doesn't end with \.jsonl"),
        ({"output": tmp_path}, "output: .* isn't empty; pass --overwrite or another --output"),
        ({"output": tmp_path, "format": "csv"}, "is a folder"),
        ({"output": tmp_path / "no" / "out.csv"}, r"there is no folder .*no; create it first"),
        ({"output": "-", "format": "parquet"}, "parquet can't be written to standard output"),
        ({"output": "-", "skip_completed": True}, "cannot continue standard output; pass --output FILE"),
        ({"skip_completed": True}, "skip_completed: there is no output"),
        ({"format": "csv"}, "format: there is no output"),
        ({"contact_sheet": tmp_path / "sheet.jpg"}, r"has to end with \.png"),
        ({"contact_sheet": tmp_path / "there.png"}, "exists; pass --overwrite or another --contact_sheet"),
        ({"contact_sheet": tmp_path / "no" / "sheet.png"}, "there is no folder"),
        (
            {"contact_sheet": tmp_path / "s.png", "output": tmp_path / "o.csv", "skip_completed": True},
            "contact_sheet: it shows the images of one call",
        ),
    ):
        with pytest.raises(UserError, match=message):
            predict(run, [data], **options)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"format parquet needs the package 'pyarrow'.*uv sync --extra parquet"):
        predict(run, [data], output=tmp_path / "out.parquet")


def test_no_images_give_an_empty_output(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert predict(run, ["-"], output=tmp_path / "out.csv", **CPU).images == 0
    assert (tmp_path / "out.csv").read_text().startswith("image,class_1")

import csv
import json

import pytest
import torch
from PIL import Image
from timm.data import create_transform
from torchmetrics.functional.classification import multiclass_calibration_error

from commands.trained import CLASSES, CPU, make_images, make_run
from msgformer.cli.main import main
from msgformer.commands.evaluate import Comparison, EvaluateResult, evaluate
from msgformer.errors import UserError
from msgformer.tasks import progress
from msgformer.tasks.classification.score_records import ClassScore
from msgformer.tasks.opened_model import load_model

ALL = {**CPU, "split": "all"}
"""Options that score the training images, too."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def data(folder):
    return make_images(folder / "data")


@pytest.fixture(scope="module")
def run(data, folder):
    return make_run(data, folder / "run")


def logits_and_labels(run, root, flip=False, **changes):
    """Compute the logits of all images of a folder without the library's evaluation."""
    model, card = load_model(run / "best.ckpt")
    transform = create_transform(**{**card.preprocessing, **changes})
    files = sorted(root.rglob("*.png"))
    images = torch.stack([transform(Image.open(file).convert("RGB")) for file in files])
    with torch.no_grad():
        return model(images.flip(-1) if flip else images), torch.tensor([CLASSES.index(f.parent.name) for f in files])


def test_all_scores_are_those_of_the_logits(run, data):
    logits, labels = logits_and_labels(run, data)
    result = evaluate(run, data, batch_size=7, **ALL)
    predicted = logits.argmax(1)
    assert result.images == 30
    assert result.top1 == pytest.approx(100 * (predicted == labels).float().mean().item())
    assert result.top5 == 100
    assert result.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    error = multiclass_calibration_error(logits.softmax(-1), labels, num_classes=3, n_bins=15)
    assert result.calibration_error == pytest.approx(100 * error.item(), rel=1e-4)
    dark = result.per_class[0]
    assert (dark.name, dark.images, dark.predicted) == ("dark", 10, int((predicted == 0).sum()))
    assert dark.recall == pytest.approx(10 * int((predicted[labels == 0] == 0).sum()))


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({"img_size": 24}, {"input_size": [3, 24, 24]}),
        ({"img_size": (16, 32)}, {"input_size": [3, 16, 32]}),
        ({"crop_pct": 0.5, "crop_mode": "squash"}, {"crop_pct": 0.5, "crop_mode": "squash"}),
        ({"interpolation": "nearest", "crop_mode": "border"}, {"interpolation": "nearest", "crop_mode": "border"}),
    ],
)
def test_images_are_preprocessed_as_requested(run, data, options, changes):
    logits, labels = logits_and_labels(run, data, **changes)
    result = evaluate(run, data, **options, **ALL)
    assert result.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert result.loss != pytest.approx(evaluate(run, data, **ALL).loss, rel=1e-5)
    assert all(result.preprocessing[key] == value for key, value in changes.items())


def test_flip_averages_with_mirror_images(run, data):
    plain, labels = logits_and_labels(run, data)
    mirrored, _ = logits_and_labels(run, data, flip=True)
    mean = (plain.softmax(-1) + mirrored.softmax(-1)) / 2
    result = evaluate(run, data, flip=True, **ALL)
    assert result.loss == pytest.approx(-mean.gather(1, labels[:, None]).log().mean().item(), rel=1e-5)
    assert result.flip
    assert "flipped too" in result.table()


def test_checkpoints_are_compared_in_one_table(run, data, folder):
    result = evaluate([run / "best.ckpt", run / "last.ckpt", run], data, output=folder / "compared", **ALL)
    assert isinstance(result, Comparison)
    assert [one.checkpoint.name for one in result.results] == ["best.ckpt", "last.ckpt", "best.ckpt"]
    assert result.results[0].top1 == result.results[2].top1
    header, *rows = result.table().splitlines()
    assert header.split()[:4] == ["CHECKPOINT", "TOP-1", "TOP-5", "LOSS"]
    assert len(rows) == 3
    with (folder / "compared" / "comparison.csv").open(newline="") as file:
        stored = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in stored] == [one.loss for one in result.results]
    assert (folder / "compared" / "2-run" / "predictions.csv").is_file()


def test_a_list_of_one_model_gives_one_result(run, data):
    assert isinstance(evaluate([run], data, **ALL), EvaluateResult)
    with pytest.raises(UserError, match="none is given"):
        evaluate([])


def test_scores_are_written_as_json_and_csv(run, data, folder):
    result = evaluate(run, data, output=folder / "scores", **ALL)
    assert {path.name for path in (folder / "scores").iterdir()} == {"metrics.json", "per_class.csv", "predictions.csv"}
    assert json.loads((folder / "scores" / "metrics.json").read_text()) == json.loads(result.render(as_json=True))
    with (folder / "scores" / "per_class.csv").open(newline="") as file:
        classes = list(csv.DictReader(file))
    assert [(row["name"], row["images"]) for row in classes] == [(name, "10") for name in CLASSES]
    with (folder / "scores" / "predictions.csv").open(newline="") as file:
        images = list(csv.DictReader(file))
    assert [row["image"] for row in images][:2] == ["dark/00.png", "dark/01.png"]
    assert sum(row["correct"] == "1" for row in images) == round(0.3 * result.top1)
    assert all((row["class_1"] == row["true"]) == (row["correct"] == "1") for row in images)
    assert sum(float(row["loss"]) for row in images) / 30 == pytest.approx(result.loss, rel=1e-5)
    assert sum(float(images[0][f"probability_{rank}"]) for rank in (1, 2, 3)) == pytest.approx(1, rel=1e-5)
    with pytest.raises(UserError, match=r"output: .*scores isn't empty; pass --overwrite or another --output"):
        evaluate(run, data, output=folder / "scores", **ALL)


def test_unusable_arguments_are_named(run, folder):
    (folder / "file").touch()
    for options, message in (
        ({"output": folder / "file"}, "output: .*file is a file"),
        ({"crop_pct": 0.0}, "crop_pct must be above 0 and at most 1, not 0"),
        ({"crop_pct": 1.5}, "at most 1, not 1.5"),
        ({"img_size": 0}, "img_size must be at least 1, not 0"),
    ):
        with pytest.raises(UserError, match=message):
            evaluate(run, **options)


def test_the_whole_image_can_be_the_crop(run, data):
    logits, labels = logits_and_labels(run, data, crop_pct=1.0)
    result = evaluate(run, data, crop_pct=1.0, **ALL)
    assert result.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert result.preprocessing["crop_pct"] == 1.0


def test_no_image_at_all_can_be_read(run, folder):
    root = make_images(folder / "broken", per_class=1, classes=CLASSES[:2])
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"no image of .*broken can be read: .*00\.png"):
        evaluate(run, root, on_bad_image="skip", **CPU)


@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
def test_other_models_at_other_sizes(data, folder, model):
    run = make_run(data, folder / model, model=model, model_args={}, epochs=1, img_size=160)
    assert evaluate(run, data, img_size=192, batch_size=16, **ALL).preprocessing["input_size"] == [3, 192, 192]


def test_a_size_that_a_model_cannot_take_is_named(data, folder):
    run = make_run(data, folder / "vit", model="test_vit", model_args={}, epochs=1, img_size=32)
    with pytest.raises(UserError, match=r"img_size: test_vit of 32 x 32 takes no images of 40 x 40 \("):
        evaluate(run, data, img_size=40, **ALL)


def test_the_worst_of_many_classes_are_shown():
    scores = [ClassScore(f"c{index}", 1, 1, 50.0, 50.0, float(index)) for index in range(30)]
    settings = {"input_size": [3, 8, 8], "crop_pct": 0.9, "crop_mode": "center"}
    result = EvaluateResult("x", "d", 30, [], 30, 1.0, 2.0, 3.0, 4.0, settings, False, scores)
    lines = result.table().splitlines()
    assert [line.split()[0] for line in lines[3:-1]] == ["CLASS", *(f"c{index}" for index in range(20))]
    assert lines[-1].startswith("(the weakest of 30 classes")


def test_progress_in_lines(run, data, capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    evaluate(run, data, batch_size=16, progress="lines", **ALL)
    _, first, second = capsys.readouterr().err.splitlines()  # after the warning of training images
    assert f"{run / 'best.ckpt'}: 16 of 30 images, " in first
    assert "30 of 30" in second


def test_progress_as_a_bar_and_not_at_all(run, data, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    evaluate(run, data, progress="bar", **ALL)
    assert "30/30" in capsys.readouterr().err
    evaluate(run, progress="none", **CPU)
    assert capsys.readouterr().err == ""


def test_the_command_line_takes_several_checkpoints(run, data, capsys):
    status = main(["evaluate", str(run), str(run / "last.ckpt"), "--data", str(data), "--device", "cpu"])
    assert status == 0
    assert len(capsys.readouterr().out.splitlines()) == 3

import csv
import json
import shutil

import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform

from msgformer.commands.evaluate import evaluate
from msgformer.commands.predict import predict
from msgformer.commands.train import train
from msgformer.data.files.folder import find_images
from msgformer.errors import UserError

MODEL_ARGS = {"embed_dim": 16, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2, "shuffle_sizes": [2, 2]}
CPU = {"device": "cpu", "workers": 0}


@pytest.fixture
def data(image_folder):
    return image_folder(per_class=10, classes=["dark", "grey", "light"])


@pytest.fixture
def run(data, tmp_path):
    return train(
        "msg_transformer_tiny",
        data,
        epochs=2,
        output=tmp_path / "run",
        img_size=16,
        batch_size=8,
        workers=0,
        model_args=MODEL_ARGS,
        optim={"warmup_epochs": 0, "lr": 1e-2},
        trainer={"accelerator": "cpu", "progress": "none"},
    ).run


def metrics(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_held_out_images_score_as_in_training(run):
    result = evaluate(run / "last.ckpt", batch_size=4, **CPU)
    last = metrics(run)[-1]
    assert result.images == 6
    assert result.top1 == pytest.approx(float(last["val/top1"]))
    assert result.loss == pytest.approx(float(last["val/loss"]), rel=1e-5)
    assert f"top-1 {result.top1:.2f} %" in result.table()


def test_images_added_later_do_not_count_as_held_out(run, data):
    for number in range(20):
        shutil.copy(data / "dark" / "00.png", data / "dark" / f"more{number}.png")
    assert evaluate(run, **CPU).images == 6


def test_other_data_may_have_fewer_classes(run, image_folder):
    other = image_folder("other", per_class=3, classes=["grey", "light"])
    assert evaluate(run, other, **CPU).images == 6
    with pytest.raises(UserError, match=r"'white' in .* is not among the known classes"):
        evaluate(run, image_folder("unknown", classes=["dark", "white"]), **CPU)


def test_a_val_folder_is_used(run, image_folder):
    image_folder("split/train", per_class=5)
    root = image_folder("split/val", per_class=2).parent
    assert evaluate(run, root, **CPU).images == 4


def test_missing_held_out_images_are_named(run, data):
    with (run / "split.csv").open(newline="") as file:
        held_out = next(row["name"] for row in csv.DictReader(file) if row["subset"] == "val")
    (data / held_out).unlink()
    with pytest.raises(UserError, match=rf"{held_out} was held out by the run, but is missing"):
        evaluate(run, **CPU)
    shutil.rmtree(data)
    with pytest.raises(UserError, match=r"the run's data: no such file or folder"):
        evaluate(run, **CPU)


def test_a_checkpoint_away_from_its_run_needs_data(run, tmp_path):
    moved = shutil.copy(run / "best.ckpt", tmp_path)
    with pytest.raises(UserError, match=r"no record of held-out images .* give --data"):
        evaluate(moved, **CPU)


def test_digits_are_split_reproducibly(tmp_path):
    result = train(
        "test_vit",
        output=tmp_path / "run",
        epochs=1,
        img_size=32,
        workers=0,
        optim={"warmup_epochs": 0},
        trainer={"accelerator": "cpu", "progress": "none"},
        preprocess={"mean": None, "std": None},
    )
    scores = evaluate(result.run, **CPU)
    assert (scores.images, scores.classes) == (359, 10)
    assert scores.top1 == pytest.approx(result.top1)


def test_predictions_are_those_of_the_model_in_the_given_order(run, data):
    files = [data / "light" / "03.png", data / "dark" / "01.png"]
    result = predict(run, [*files, data / "grey"], top_k=2, batch_size=3, **CPU)
    assert [one.image for one in result.predictions] == [
        *map(str, files),
        *(str(data / "grey" / name) for name in find_images(data / "grey")),
    ]
    checkpoint = torch.load(run / "best.ckpt", weights_only=True)
    card = checkpoint["msgformer"]
    model = timm.create_model(card["model"], num_classes=3, img_size=(16, 16), **card["model_args"]).eval()
    model.load_state_dict({name.removeprefix("model."): value for name, value in checkpoint["state_dict"].items()})
    transform = create_transform(**card["preprocessing"])
    with torch.no_grad():
        expected = model(transform(Image.open(files[0]))[None]).softmax(-1)[0].topk(2)
    first = result.predictions[0]
    assert first.classes == [card["classes"][index] for index in expected.indices]
    assert first.probabilities == pytest.approx(expected.values.tolist(), rel=1e-5)


def test_predictions_as_a_table_and_as_json(run, data):
    result = predict(run, [data / "dark"], top_k=9, **CPU)
    assert len(result.table().splitlines()) == 10
    stored = json.loads(result.render(as_json=True))["predictions"]
    assert {len(one["classes"]) for one in stored} == {3}
    assert sum(stored[0]["probabilities"]) == pytest.approx(1)


def test_a_file_name_with_spaces_and_a_new_line(run, data, tmp_path):
    odd = shutil.copy(data / "dark" / "00.png", tmp_path / "a b\nü.png")
    assert predict(run, [odd], **CPU).predictions[0].image == str(odd)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named(run, data, workers):
    broken = data / "dark" / "02.png"
    broken.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"^can't read image .*02\.png \(not an image\); replace or remove it$"):
        predict(run, [data / "dark"], workers=workers, device="cpu")


def test_unusable_images_are_named(run, tmp_path):
    (tmp_path / "empty").mkdir()
    for images, message in (
        ([tmp_path / "gone.png"], r"images: no such file or folder: .*gone\.png"),
        ([tmp_path / "empty"], "no image in folder .*empty"),
        ([], "the list is empty"),
    ):
        with pytest.raises(UserError, match=message):
            predict(run, images)
    with pytest.raises(UserError, match="top_k must be at least 1"):
        predict(run, [run], top_k=0)
    with pytest.raises(UserError, match="device must be auto, cpu, cuda or cuda:N, not 'abacus'"):
        evaluate(run, device="abacus")


def test_unreadable_images_can_be_skipped_and_are_listed(run, data, image_folder, capsys):
    other = image_folder("other", per_class=4, classes=["grey", "light"])
    broken = other / "light" / "02.png"
    broken.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"light/02\.png"):
        evaluate(run, str(other), **CPU)
    result = evaluate(run, other, on_bad_image="skip", **CPU)
    assert (result.images, [one.name for one in result.skipped]) == (7, ["light/02.png"])
    assert "left out: can't read image" in result.table()
    found = predict(run, [other / "light", data / "grey" / "00.png"], on_bad_image="skip", **CPU)
    assert found.skipped == [str(broken)]
    assert [one.image for one in found.predictions] == [
        *(str(other / "light" / name) for name in ("00.png", "01.png", "03.png")),
        str(data / "grey" / "00.png"),
    ]
    assert f"{broken}  left out: can't be read" in found.table()
    assert capsys.readouterr().err.endswith("left out 1 of 5 image(s), which can't be read\n")
    assert predict(run, [broken], on_bad_image="skip", **CPU).table().endswith("left out: can't be read")


@pytest.mark.parametrize("subsets", [("",), ("train/", "val/")])
def test_images_skipped_in_training_are_not_scored(image_folder, tmp_path, capsys, subsets):
    for subset in subsets:
        root = image_folder(f"skips/{subset}", per_class=6)
        for name in ("00.png", "01.png"):
            (root / "dark" / name).write_bytes(b"")
    settings = {"model_args": MODEL_ARGS, "img_size": 16, "batch_size": 4, "workers": 0, "epochs": 1}
    result = train(
        "msg_transformer_tiny",
        tmp_path / "skips",
        output=tmp_path / "skipping",
        on_bad_image="skip",
        val_fraction=0.5,
        optim={"warmup_epochs": 0},
        trainer={"accelerator": "cpu", "progress": "none"},
        **settings,
    )
    assert "image(s) that can't be read, listed in the run's skipped.csv" in capsys.readouterr().err
    with (result.run / "skipped.csv").open(newline="") as file:
        skipped = {row["name"] for row in csv.DictReader(file)}
    assert skipped == {"dark/00.png", "dark/01.png"}
    with (result.run / "split.csv").open(newline="") as file:
        kept = [row for row in csv.DictReader(file) if row["subset"] == "val"]
    assert skipped.isdisjoint(row["name"] for row in kept)
    assert evaluate(result.run, **CPU).images == len(kept)
    assert train(resume=result.run).epochs == 1

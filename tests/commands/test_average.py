import math
import shutil
from types import SimpleNamespace

import pytest
import torch

from commands.tiny_dense import tiny_dense_run, write_scenes
from commands.trained import CPU, MODEL_ARGS, make_images, make_run
from msgformer.checkpoints.checkpoint_file import is_sealed
from msgformer.cli.main import main
from msgformer.commands.average import average
from msgformer.commands.evaluate import evaluate
from msgformer.commands.predict import predict
from msgformer.errors import UserError
from msgformer.tasks.opened_model import load_model
from msgformer.weights import averaging


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("average")


@pytest.fixture(scope="module")
def data(folder):
    """Create train/ and val/, so that all runs hold out the same images."""
    make_images(folder / "data" / "train", per_class=6)
    make_images(folder / "data" / "val", per_class=4)
    return folder / "data"


@pytest.fixture(scope="module")
def runs(data, folder):
    """Train two runs from the same initial weights with different image orders and drop path rates."""
    start = make_run(data, folder / "start", epochs=1) / "best.ckpt"
    rates = ({"drop_path_rate": 0.0}, {"drop_path_rate": 0.2})
    return [
        make_run(data, folder / f"run{seed}", seed=seed, epochs=1, init_from=start, model_args={**MODEL_ARGS, **rate})
        for seed, rate in enumerate(rates, start=1)
    ]


def states(*paths):
    return [load_model(path)[0].state_dict() for path in paths]


def test_a_uniform_average_is_a_regular_checkpoint(runs, data, tmp_path):
    output = tmp_path / "soup.ckpt"
    result = average(runs, output=output)
    assert [one.taken for one in result.ingredients] == [True, True]
    assert (result.model, result.metric, result.score) == ("msg_transformer_tiny", None, None)
    ours, first, second = states(output, *(run / "best.ckpt" for run in runs))
    assert ours.keys() == first.keys()
    for name, value in ours.items():
        assert value.dtype == first[name].dtype
        torch.testing.assert_close(value, (first[name] + second[name]) / 2)
    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert is_sealed(output)
    assert evaluate(output, **CPU).images == 12  # what the runs held out
    assert predict(output, [data / "val/dark/00.png"], **CPU).predictions
    started = make_run(data, tmp_path / "run", init_from=output, epochs=1, optim={"warmup_epochs": 0, "lr": 1e-30})
    (begun,) = states(started / "best.ckpt")
    torch.testing.assert_close(begun, ours)


def test_a_checkpoint_averaged_with_itself_is_itself(runs, tmp_path):
    average([runs[0], runs[0] / "last.ckpt", runs[0]], output=tmp_path / "same.ckpt")
    ours, first = states(tmp_path / "same.ckpt", runs[0] / "best.ckpt")
    assert all(torch.equal(ours[name], first[name]) for name in first)


def test_integers_stay_integers(data, folder, tmp_path):
    paths = [
        make_run(data, folder / f"resnet{epochs}", model="test_resnet", model_args={}, epochs=epochs) / "last.ckpt"
        for epochs in (1, 2)
    ]
    average(paths, output=tmp_path / "soup.ckpt")
    ours, first, second = states(tmp_path / "soup.ckpt", *paths)
    name = next(name for name in ours if name.endswith("num_batches_tracked"))
    assert (first[name].item(), second[name].item()) == (2, 4)
    assert (ours[name].dtype, ours[name].item()) == (torch.int64, 3)
    average([paths[0], *paths[1:] * 3], output=tmp_path / "rounded.ckpt")  # a mean of 3.5
    assert states(tmp_path / "rounded.ckpt")[0][name].item() == 4


def test_a_greedy_average_is_at_least_as_good_as_the_best_checkpoint(runs, tmp_path, capsys):
    words = ["--greedy", "--output", str(tmp_path / "soup.ckpt"), "--device", "cpu", "--workers", "0"]
    assert main(["average", *map(str, runs), *words]) == 0
    printed = capsys.readouterr().out
    assert "soup.ckpt: msg_transformer_tiny, the mean of " in printed
    result = average(runs, greedy=True, output=tmp_path / "again.ckpt", **CPU)
    alone = [evaluate(run, **CPU).top1 for run in runs]
    assert [one.score for one in result.ingredients] == sorted(alone, reverse=True)
    assert result.ingredients[0].taken
    assert result.score >= max(alone)
    assert result.score == evaluate(tmp_path / "again.ckpt", **CPU).top1
    assert f"top1 {result.score:.2f} %" in printed


def test_a_greedy_average_is_scored_on_validation_images_alone(runs, data, tmp_path):
    shutil.copytree(data / "val", tmp_path / "images" / "val")
    result = average(runs, greedy=True, data=tmp_path / "images", output=tmp_path / "soup.ckpt", **CPU)
    assert result.ingredients[0].score == max(evaluate(run, data=data, **CPU).top1 for run in runs)


def test_data_without_a_score_is_an_error(monkeypatch, tmp_path):
    """A missing score must not count as zero, with which every checkpoint would be taken."""
    ingredients = SimpleNamespace(card=SimpleNamespace(task="classify"), has_same_val=True)
    monkeypatch.setattr(averaging, "Ingredients", lambda _paths: ingredients)
    for value in (None, math.nan):
        scores = SimpleNamespace(metric=lambda _name, value=value: value)
        with pytest.raises(UserError, match="greedy: top1 can't be computed on data"):
            averaging.average_greedily([tmp_path / "a.ckpt"], tmp_path / "b.ckpt", "data", lambda *_, s=scores: s)


@pytest.mark.parametrize(("task", "metric"), [("detect", "box_ap"), ("segment", "miou")])
def test_detectors_and_segmenters_are_averaged(task, metric, tmp_path):
    scenes = write_scenes(task, tmp_path / "scenes", 2, 1)
    run = tiny_dense_run(task, scenes, tmp_path / "run", epochs=2).run
    paths = [run / "last.ckpt", run / "best.ckpt"]
    result = average(paths, greedy=True, output=tmp_path / "soup.ckpt", device="cpu", workers=0, progress="none")
    assert result.metric == metric
    assert load_model(tmp_path / "soup.ckpt")[1].task == task


def test_runs_that_held_out_different_images_are_not_scored_on_either(data, folder, tmp_path):
    paths = [make_run(data / "train", folder / f"split{seed}", seed=seed, epochs=1) for seed in (1, 2)]
    with pytest.raises(UserError, match=r"greedy: the runs of .* held out different images.*pass --data"):
        average(paths, greedy=True, output=tmp_path / "soup.ckpt")
    average(paths, greedy=True, data=data, output=tmp_path / "soup.ckpt", **CPU)
    with pytest.raises(UserError, match=r"soup.ckpt isn't in the folder of its run; give --data"):
        evaluate(tmp_path / "soup.ckpt")


def test_incompatible_checkpoints_are_refused(runs, data, folder, tmp_path):
    run, output = runs[0], tmp_path / "soup.ckpt"
    two = make_images(folder / "two", per_class=4, classes=("dark", "light"))
    wide = make_run(data, folder / "wide", epochs=1, model_args={**MODEL_ARGS, "embed_dim": 32})
    other = make_run(data, folder / "other", epochs=1, model="test_vit", model_args={})
    for second, message in (
        (make_run(two, folder / "classes", epochs=1), r"the classes are 2 \('dark', 'light'\) in one, 3 \('dark', "),
        (wide, r"model_args\.embed_dim is 32 in one, 16 in the other"),
        (other, r"the model is test_vit in one, msg_transformer_tiny in the other"),
        (make_run(data, folder / "large", epochs=1, img_size=32), r"preprocessing\.input_size is \[3, 32, 32\] in one"),
    ):
        with pytest.raises(UserError, match=message) as error:
            average([run, second], output=output)
        assert "\n" not in str(error.value)
    assert not output.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"output: no file to write is given; pass one, such as --output soup\.ckpt"),
        ({"output": "soup.safetensors"}, r"has to end with \.ckpt; try 'soup\.ckpt'"),
        ({"output": "none/soup.ckpt"}, "there is no folder none; create it first"),
        ({"output": "soup.ckpt", "data": "."}, "data is for --greedy; leave it out"),
        ({"output": "soup.ckpt", "batch_size": 2}, "batch_size is for --greedy; leave it out"),
    ],
)
def test_unusable_options_are_named(runs, settings, message):
    with pytest.raises(UserError, match=message):
        average(runs, **settings)


def test_one_checkpoint_is_refused_and_none_is_overwritten(runs):
    with pytest.raises(UserError, match="1 can't be averaged; give two or more"):
        average([runs[0]], output="soup.ckpt")
    with pytest.raises(UserError, match=r"best\.ckpt is one of the checkpoints themselves"):
        average(runs, output=runs[0] / "best.ckpt")

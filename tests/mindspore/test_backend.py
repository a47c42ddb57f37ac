"""Evaluation, prediction and benchmarks of PyTorch-trained models in MindSpore."""

import json

import pytest
import torch

from commands.trained import CLASSES, CPU, MODEL_ARGS, make_images, make_run
from msgformer.commands.benchmark import benchmark
from msgformer.commands.convert import convert
from msgformer.commands.evaluate import evaluate
from msgformer.commands.predict import iter_predictions, predict
from msgformer.errors import UserError
from msgformer.profiling import backends as benchmark_backends
from msgformer.tasks import opened_model

SG = {"embed_dims": [8, 16], "depths": [2, 2], "num_heads": [2, 2], "reductions": [8, 4], "window_size": 5}
RUNS = {"msg": {}, "sg": {"model": "sgformer_small", "model_args": SG, "img_size": 64, "epochs": 1}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture(scope="module", params=RUNS)
def run(request, data, tmp_path_factory):
    return make_run(data, tmp_path_factory.mktemp(request.param) / "run", **RUNS[request.param])


@pytest.fixture
def as_trained(monkeypatch):
    """PyTorch's predictions without `optimize`, whose rounding ranks the equal tokens of uniform images differently."""
    monkeypatch.setattr(opened_model, "optimize", lambda model: model)


@pytest.mark.usefixtures("as_trained")
@pytest.mark.parametrize(
    "settings",
    [{}, {"flip": True, "img_size": (48, 80), "batch_size": 4}, {"batch_size": 4, "workers": 1}],
    ids=["as trained", "flipped, at another size", "with a worker"],
)
def test_scores_equal_pytorch(run, settings):
    theirs = evaluate(run, **{**CPU, **settings})
    ours = evaluate(run, **{**CPU, **settings}, backend="mindspore")
    assert ours.loss == pytest.approx(theirs.loss, abs=1e-4)
    assert (ours.images, ours.top1, ours.top5, ours.input) == (theirs.images, theirs.top1, theirs.top5, theirs.input)


@pytest.mark.usefixtures("as_trained")
def test_predictions_equal_pytorch(run, data):
    theirs = predict(run, [data], **CPU).predictions
    ours = predict(run, [data], **CPU, backend="mindspore").predictions
    assert [*iter_predictions(run, [data], **CPU, backend="mindspore")] == ours
    assert [one.image for one in ours] == [one.image for one in theirs]
    for mine, wanted in zip(ours, theirs, strict=True):
        probabilities = dict(zip(wanted.classes, wanted.probabilities, strict=True))
        assert dict(zip(mine.classes, mine.probabilities, strict=True)) == pytest.approx(probabilities, abs=1e-4)


def test_round_trip_predicts_the_same(run, data, tmp_path):
    wanted = predict(run, [data], **CPU).predictions
    convert(run / "best.ckpt", tmp_path / "there.ckpt", to="mindspore")
    convert(tmp_path / "there.ckpt", run / "back.ckpt")
    assert predict(run / "back.ckpt", [data], **CPU).predictions == wanted
    assert evaluate(run / "back.ckpt", **CPU).loss == evaluate(run, **CPU).loss


@pytest.mark.parametrize("run", ["msg"], indirect=True)
def test_command_line_prints_the_result_only(run, data, run_msgformer):
    done = run_msgformer("predict", str(run), str(data / CLASSES[0]), "--backend", "mindspore", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 10


def test_both_modes_are_timed_with_pytorch(run, monkeypatch):
    answered = []

    def watch(model, card, *, graph):
        logits = mindspore_logits(model, card, graph=graph)

        def ask(images):
            found = logits(images)
            torch.testing.assert_close(found, model(images).detach(), rtol=1e-3, atol=1e-4)
            answered.append(graph)
            return found

        return ask

    mindspore_logits = benchmark_backends.mindspore_logits
    monkeypatch.setattr(benchmark_backends, "mindspore_logits", watch)
    options = {"threads": 1, "img_size": 32, "rounds": 1, "device": "cpu", "progress": "none"}
    result = benchmark([str(run)], backend=["mindspore", "eager", "mindspore-graph"], **options)
    assert [one.backend for one in result.timings] == ["mindspore", "eager", "mindspore-graph"]
    assert [one.memory_mib is None for one in result.timings] == [True, False, True]
    assert len({one.floor_ms for one in result.timings}) == 1
    assert set(answered) == {False, True}
    assert result.packages["mindspore"]
    with pytest.raises(UserError, match=r"^threads: MindSpore accepts one number per process, and 2 is another one; "):
        benchmark([str(run)], backend="mindspore", **{**options, "threads": 2})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_args": {**MODEL_ARGS, "exchange": "mean"}}, "no exchange 'mean' for MindSpore, known: shuffle, none"),
        ({"model": "test_vit", "model_args": {}, "img_size": 32}, "this package's models only, not test_vit"),
    ],
    ids=["exchange", "timm's"],
)
def test_unsupported_models_are_an_error(data, tmp_path, settings, message):
    run = make_run(data, tmp_path / "run", epochs=1, **settings)
    for command, places in ((evaluate, []), (predict, [[data]])):
        with pytest.raises(UserError, match=f"^backend: .*{message}") as caught:
            command(run, *places, **CPU, backend="mindspore")
        assert "\n" not in str(caught.value)

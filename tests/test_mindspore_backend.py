"""Unsupported requests are refused before MindSpore is imported; the other tests are in tests/mindspore."""

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import pytest
import torch

from commands.tiny_dense import BACKBONE
from commands.trained import make_images
from msgformer import mindspore_backend
from msgformer.checkpoints.card import ModelCard
from msgformer.commands.benchmark import benchmark
from msgformer.commands.evaluate import evaluate
from msgformer.commands.predict import iter_predictions, predict
from msgformer.config.dense_data_options import DetectImageOptions, SegmentImageOptions
from msgformer.errors import UserError
from msgformer.profiling.backends import Setting
from msgformer.tasks import get_task
from msgformer.weights.files import write_checkpoint

COMMANDS = [(evaluate, []), (predict, [["x.png"]]), (iter_predictions, [["x.png"]])]


@pytest.fixture
def installed(monkeypatch):
    """Pretend that these versions are installed."""

    def pretend(**versions):
        def version(name):
            if name in versions and versions[name] is None:
                raise PackageNotFoundError(name)
            return versions.get(name) or installed_version(name)

        monkeypatch.setattr(mindspore_backend, "version", version)

    return pretend


@pytest.mark.parametrize(("command", "images"), COMMANDS)
@pytest.mark.parametrize(
    ("versions", "settings", "message"),
    [
        ({"mindspore": None}, {}, "^MindSpore isn't installed; 'uv sync --extra mindspore' installs it "),
        ({"mindspore": "2.10.0", "numpy": "2.3.0"}, {}, r"^MindSpore can't work with NumPy 2\.3\.0; .* fixes it$"),
        (
            {"mindspore": "2.10.0", "numpy": "1.26.4"},
            {"device": "gpu"},
            r"^device: MindSpore models run on the CPU only, not on 'gpu'; omit the option$",
        ),
        (
            {"mindspore": "2.10.0", "numpy": "1.26.4"},
            {"precision": "bf16-mixed"},
            r"^precision: MindSpore models run in 32-true only, not in 'bf16-mixed'; omit the option$",
        ),
    ],
    ids=["missing", "NumPy 2", "accelerator", "precision"],
)
def test_unsupported_requests_are_refused(installed, tmp_path, command, images, versions, settings, message):
    installed(**versions)
    with pytest.raises(UserError, match=message):
        command(tmp_path, *images, backend="mindspore", **settings)


def test_float32_has_two_names(installed):
    installed(mindspore="2.10.0", numpy="1.26.4")
    for precision in ("float32", "32-true"):
        mindspore_backend.check_backend("mindspore", "auto", precision)


@pytest.mark.parametrize(
    ("task", "preprocessing"), [("detect", DetectImageOptions()), ("segment", SegmentImageOptions())]
)
def test_detectors_and_segmenters_are_an_error(installed, tmp_path, task, preprocessing):
    installed(mindspore="2.10.0", numpy="1.26.4")
    card = ModelCard("msg_transformer_tiny", {**BACKBONE, "channels": 16}, ["one"], asdict(preprocessing), task=task)
    write_checkpoint(get_task(task).build_model(card).state_dict(), card, tmp_path / "best.ckpt")
    image_folder = make_images(tmp_path / "images", per_class=1)
    message = f"^backend is for classifiers, not for {get_task(task).noun}s; leave it out$"
    for command, images in ((evaluate, []), (predict, [[image_folder]])):
        with pytest.raises(UserError, match=message):
            command(tmp_path, *images, backend="mindspore")


@pytest.mark.parametrize("backend", ["mindspore", "mindspore-graph"])
@pytest.mark.parametrize(
    ("versions", "settings", "message"),
    [
        ({"mindspore": None}, {}, r"^MindSpore isn't installed; .* use a separate environment for it$"),
        ({"mindspore": "2.10.0", "numpy": "2.3.0"}, {}, r"^MindSpore can't work with NumPy 2\.3\.0; .* fixes it$"),
        (
            {"mindspore": "2.10.0", "numpy": "1.26.4"},
            {"precision": "bf16"},
            "^precision: .* supports only float32",
        ),
        ({"mindspore": "2.10.0", "numpy": "1.26.4"}, {"mode": "train"}, "^backend: .* can't train; use one of eager"),
    ],
    ids=["missing", "NumPy 2", "precision", "mode"],
)
def test_unsupported_benchmark_is_an_error(installed, backend, versions, settings, message):
    installed(**versions)
    with pytest.raises(UserError, match=message):
        benchmark(["msg_transformer_tiny"], backend=["eager", backend], **settings)


def test_mindspore_is_not_timed_beside_a_gpu():
    setting = Setting("infer", "float32", torch.device("cuda"), None, (32, 32))
    with pytest.raises(UserError, match=r"^backend: MindSpore runs only on the CPU here, .*; give --device cpu$"):
        setting.check(["eager", "mindspore-graph"])

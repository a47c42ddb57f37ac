"""Initial weights of a run."""

import pytest
import torch

from commands.tiny import TINY, tiny_run, weights
from commands.tiny_dense import BACKBONE, tiny_dense_run, write_scenes
from msgformer.commands.train import train
from msgformer.errors import UserError
from msgformer.models import create_model

STILL = {"schedule": "constant", "warmup_epochs": 0, "lr": 1e-60, "lr_batch": None, "weight_decay": 0.0}
"""A learning rate that changes nothing: a run ends with its initial weights."""


@pytest.fixture
def source(image_folder, tmp_path):
    data = image_folder("three", per_class=6, classes=["dark", "grey", "light"])
    return tiny_run(data, tmp_path / "source", epochs=1).run


@pytest.fixture
def data(image_folder):
    return image_folder("two", per_class=6, classes=["dark", "light"])


def test_a_run_starts_from_another_and_takes_new_classes(source, data, tmp_path):
    run = tiny_run(data, tmp_path / "run", epochs=1, optim=STILL, init_from=source / "last.ckpt").run
    before, after = weights(source), weights(run)
    same = [name for name in after if name.startswith("model.") and torch.equal(before[name], after[name])]
    others = {name for name in after if name.startswith("model.")} - set(same)
    assert others == {"model.head.fc.weight", "model.head.fc.bias"}


def test_resuming_does_not_need_the_file(source, data, tmp_path):
    run = tiny_run(data, tmp_path / "run", epochs=1, init_from=source / "last.ckpt").run
    (source / "last.ckpt").unlink()
    before = weights(run)
    train(resume=run)
    assert all(torch.equal(before[name], value) for name, value in weights(run).items())


def test_a_segmenters_backbone_starts_from_a_classifier(tmp_path):
    torch.manual_seed(5)
    classifier = create_model("msg_transformer_tiny", num_classes=3, **BACKBONE)
    torch.save(classifier.state_dict(), tmp_path / "classifier.pth")
    scenes = write_scenes("segment", tmp_path / "scenes")
    settings = {"epochs": 1, "optim": STILL, "init_from": tmp_path / "classifier.pth"}
    run = tiny_dense_run("segment", scenes, tmp_path / "run", **settings).run
    expected = classifier.state_dict()["stages.3.blocks.0.mlp.fc1.weight"]
    (found,) = (value for name, value in weights(run).items() if name.endswith("stages.3.blocks.0.mlp.fc1.weight"))
    assert torch.equal(found, expected)


def test_a_checkpoint_of_another_model_is_refused_before_there_is_a_run(source, data, tmp_path):
    wide = {"model_args": {**TINY, "embed_dim": 32}}
    with pytest.raises(UserError, match=r"last\.ckpt' doesn't fit MsgTransformer: .*checkpoint of the same model"):
        tiny_run(data, tmp_path / "run", init_from=source / "last.ckpt", **wide)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"init_from": "gone.ckpt"}, "init_from: no such file or folder: .*gone.ckpt"),
        ({"init_from": "."}, "init_from: .* is a folder without best.ckpt; give a run folder"),
        ({"init_from": "gone.ckpt", "pretrained": True}, "pretrained and init_from are both given"),
    ],
)
def test_unusable_initial_weights_are_named(data, tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        tiny_run(data, tmp_path / "run", **settings)


def test_classes_are_matched_by_name_and_a_run_folder_is_its_best_checkpoint(source, image_folder, tmp_path, capsys):
    data = image_folder("other", per_class=6, classes=["black", "dark", "light"])
    run = tiny_run(data, tmp_path / "run", epochs=1, optim=STILL, init_from=source).run
    assert "init_from: 2 of 3 classes matched by name; 1 new\n" in capsys.readouterr().err
    before = torch.load(source / "best.ckpt")["state_dict"]
    for name in ("model.head.fc.weight", "model.head.fc.bias"):
        assert torch.equal(weights(run)[name][1:], before[name][[0, 2]])
    assert not torch.equal(weights(run)["model.head.fc.weight"][0], before["model.head.fc.weight"][0])

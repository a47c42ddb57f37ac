"""Checkpoints of runs keep their settings and classes when they are converted."""

import dataclasses
import json
import struct

import pytest
import torch
from safetensors.torch import load_file

from commands.trained import make_images, make_run, open_source
from msgformer.checkpoints.card import KEY, ModelCard
from msgformer.checkpoints.checkpoint_file import EMA_PREFIX, PREFIX, read_training_checkpoint
from msgformer.cli.main import main
from msgformer.commands.convert import convert
from msgformer.errors import UserError
from msgformer.mindspore_backend import is_mindspore
from msgformer.tasks.opened_model import load_model
from msgformer.training.build import build_model
from msgformer.utils.safetensors_header import read_header
from msgformer.weights import conversion as converting
from msgformer.weights.files import write_checkpoint

MSG = dict(embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=2, shuffle_sizes=[2, 2], exchange="attention")
SG = dict(embed_dims=[8, 16], depths=[2, 1], num_heads=[2, 2], reductions=[4, 1], attention="local", in_chans=1)
MODELS = {"msg_transformer_tiny": MSG, "sgformer_small": SG, "test_resnet": {}}


@pytest.fixture(params=MODELS)
def trained(request, tmp_path):
    """Create a checkpoint as in training, of a model with other widths and options than the registered ones."""
    size = (32, 48)
    args = MODELS[request.param]
    channels = args.get("in_chans", 3)
    preprocessing = {
        "input_size": [channels, *size],
        "interpolation": "bicubic",
        "mean": [0.5] * channels,
        "std": [0.5] * channels,
        "crop_pct": 0.5,
        "crop_mode": "center",
    }
    card = ModelCard(request.param, args, ["a", "ü", "c"], preprocessing)
    write_checkpoint(build_model(card.model, 3, size, args).state_dict(), card, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_trained_model_of_any_width_is_converted_with_its_card(trained, tmp_path):
    model, card = load_model(trained)
    result = convert(trained, tmp_path / "out.safetensors")
    assert (result.model, result.num_classes, result.left_out) == (card.model, 3, [])
    assert same(load_file(tmp_path / "out.safetensors"), model.state_dict())
    assert ModelCard.from_json(read_header(tmp_path / "out.safetensors")[KEY], trained) == card
    convert(tmp_path / "out.safetensors", tmp_path / "again.safetensors")
    source = open_source(tmp_path / "again.safetensors")
    assert source.card == card
    assert source.size == (32, 48)
    assert same(source.module.state_dict(), model.state_dict())


@pytest.mark.parametrize("trained", ["msg_transformer_tiny"], indirect=True)
def test_weights_from_mindspore_become_a_checkpoint_again(trained, tmp_path, monkeypatch):
    model, card = load_model(trained)
    back = tmp_path / "back.ckpt"
    (tmp_path / "there.ckpt").write_bytes(b"\n" + bytes(20))
    assert is_mindspore(tmp_path / "there.ckpt")
    assert not is_mindspore(trained)
    monkeypatch.setattr("msgformer.commands.convert.check_mindspore", lambda: None)
    monkeypatch.setattr(converting, "read_mindspore", lambda _: (model.state_dict(), card.to_json()))
    convert(tmp_path / "there.ckpt", back)
    restored, known = load_model(back)
    assert known == card
    assert same(restored.state_dict(), model.state_dict())
    monkeypatch.setattr(
        converting, "read_mindspore", lambda _: (build_model("sgformer_s", 1000, (224, 224), {}).state_dict(), None)
    )
    with pytest.raises(
        UserError, match=r"^output '.*new\.ckpt' can't be a checkpoint, since 'there\.ckpt' doesn't record"
    ):
        convert(tmp_path / "there.ckpt", tmp_path / "new.ckpt")
    assert not (tmp_path / "new.ckpt").exists()


def test_ema_weights_are_used_by_default(tmp_path):
    data = make_images(tmp_path / "images", per_class=4)
    optim = {"warmup_epochs": 0, "lr": 1e-2, "ema": 0.9}
    run = make_run(data, tmp_path / "run", epochs=3, optim=optim)  # after one step the average is the weights
    state = read_training_checkpoint(run / "last.ckpt")["state_dict"]
    averaged, last = (
        {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        for prefix in (EMA_PREFIX, PREFIX)
    )
    assert not same(averaged, last)
    for ema, wanted in ((True, averaged), (False, last)):
        convert(run / "last.ckpt", tmp_path / f"{ema}.safetensors", ema=ema)
        assert same(load_file(tmp_path / f"{ema}.safetensors"), wanted)
    assert main(["convert", str(run / "best.ckpt"), str(tmp_path / "out.safetensors")]) == 0


@pytest.mark.parametrize("trained", ["sgformer_small"], indirect=True)
def test_options_that_contradict_the_file_are_refused(trained, tmp_path):
    output = tmp_path / "out.safetensors"
    convert(trained, output, model="sgformer_s", num_classes=3)
    output.unlink()
    for settings, message in (
        (
            {"model": "msg_transformer_tiny"},
            r"^model: '.*best\.ckpt' records sgformer_small, not msg_transformer",
        ),
        ({"num_classes": 10}, r"^num_classes: '.*best\.ckpt' records 3, not 10; leave it out$"),
        ({"img_size": 32}, r"^img_size: '.*best\.ckpt' records \(32, 48\), not \(32, 32\); leave it out$"),
    ):
        with pytest.raises(UserError, match=message):
            convert(trained, output, **settings)
    assert not output.exists()


def test_other_tasks_and_damaged_files_are_refused_in_one_line(tmp_path):
    output = tmp_path / "out.safetensors"
    card = ModelCard("msg_transformer_tiny", {}, ["a"], {"input_size": [3, 32, 32]}, task="detect")
    write_checkpoint({}, card, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"a\.ckpt' is a detector; give a classifier"):
        convert(tmp_path / "a.ckpt", output)
    write_checkpoint(
        {"head.fc.bias": torch.full((4,), 1.5)}, dataclasses.replace(card, task="classify"), tmp_path / "b.ckpt"
    )
    with pytest.raises(UserError, match=r"b\.ckpt: its weights don't fit msg_transformer_tiny: "):
        convert(tmp_path / "b.ckpt", output)
    content = (tmp_path / "b.ckpt").read_bytes()
    value = struct.pack("<f", 1.5)
    assert content.count(4 * value) == 1
    (tmp_path / "c.ckpt").write_bytes(content.replace(4 * value, 3 * value + bytes(4)))
    with pytest.raises(UserError, match=r"c\.ckpt is damaged: .*; copy it again") as caught:
        convert(tmp_path / "c.ckpt", output)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"d\.safetensors: its model card can't be read \(.*\); convert"):
        ModelCard.from_json("{", tmp_path / "d.safetensors")
    with pytest.raises(UserError, match=r"d\.safetensors was written by another version of msgformer"):
        ModelCard.from_json(json.dumps({"name": 1}), tmp_path / "d.safetensors")
    assert not output.exists()

"""Conversion of weights between PyTorch and MindSpore files."""

import mindspore as ms
import pytest
import torch
from golden import relative_error
from safetensors.torch import load_file, save_file
from small import MSG, SG

from models.fill import fill
from msgformer.checkpoints.card import ModelCard
from msgformer.commands.convert import convert
from msgformer.errors import UserError
from msgformer.mindspore import create_model, load_model, load_weights, read_weights
from msgformer.models import create_model as create_torch_model
from msgformer.tasks import opened_model
from msgformer.training.build import build_model
from msgformer.weights.files import write_checkpoint

ONE_STAGE = {"embed_dims": [8], "depths": [2], "num_heads": [2], "reductions": [4], "global_pool": "max"}
TRAINED = {
    "msg": ("msg_transformer_tiny", {**MSG, "drop_path_rate": 0.1}),
    "msg v1, one channel": ("msg_transformer_v1_tiny", {**MSG, "exchange": "none", "in_chans": 1, "qkv_bias": False}),
    "sg": ("sgformer_small", {**{key: value for key, value in SG.items() if key != "img_size"}, "depths": (1, 1)}),
    "sg, what it has in PyTorch alone": (
        "sgformer_s",
        {**ONE_STAGE, "attention": "hybrid", "reallocation": "significance", "local_position": True},
    ),
}
CLASSES = ["a", "ü", "c"]


def write_trained(path, name, args, size=(32, 48)):
    """A checkpoint as a training writes it, and its card."""
    input_size = [args.get("in_chans", 3), *size]
    args = {key: list(value) if isinstance(value, tuple) else value for key, value in args.items()}
    settings = {"input_size": input_size, "mean": [0.5] * input_size[0], "std": [0.5] * input_size[0]}
    card = ModelCard(name, args, CLASSES, settings)
    model = build_model(name, len(CLASSES), size, args)
    write_checkpoint(model.state_dict(), card, path)
    return model.eval(), card


@pytest.mark.parametrize("name", ["msg_transformer_v1_tiny", "sgformer_small"])
def test_round_trip_of_weights(name, tmp_path):
    theirs = create_torch_model(name, num_classes=3).state_dict()
    save_file(theirs, tmp_path / "in.safetensors")
    there = convert(tmp_path / "in.safetensors", tmp_path / "out.ckpt", num_classes=3, to="mindspore")
    assert (there.model, there.tensors) == (name, len(theirs))
    stored = ms.load_checkpoint(str(tmp_path / "out.ckpt"))
    assert stored.keys() == {key for key, _ in create_model(name, num_classes=3).parameters_and_names()}
    back = convert(tmp_path / "out.ckpt", tmp_path / "back.safetensors", num_classes=3)
    assert back.model == name
    returned = load_file(tmp_path / "back.safetensors")
    assert returned.keys() == theirs.keys()
    assert all(torch.equal(returned[key], value) for key, value in theirs.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.safetensors", "in.safetensors", "out.ckpt"]


def test_both_file_formats_load_the_same_model(tmp_path):
    theirs = create_torch_model("msg_transformer_v1_tiny", num_classes=3).eval()
    save_file(theirs.state_dict(), tmp_path / "in.safetensors")
    convert(tmp_path / "in.safetensors", tmp_path / "out.ckpt", num_classes=3, to="mindspore")
    image = fill("image", (1, 3, 64, 64)).float()
    with torch.no_grad():
        wanted = theirs(image)
    ours = create_model("msg_transformer_v1_tiny", num_classes=3)
    for file in ("in.safetensors", "out.ckpt"):
        load_weights(ours, read_weights(tmp_path / file))
        assert relative_error(ours(ms.Tensor(image.numpy())).asnumpy(), wanted) <= 1e-4


@pytest.mark.parametrize("kind", TRAINED)
def test_round_trip_of_a_trained_model_with_its_card(kind, tmp_path):
    theirs, card = write_trained(tmp_path / "best.ckpt", *TRAINED[kind])
    there = convert(tmp_path / "best.ckpt", tmp_path / "there.ckpt", to="mindspore")
    assert (there.model, there.num_classes, there.tensors) == (card.model, 3, len(theirs.state_dict()))
    ours = load_model(tmp_path / "there.ckpt")
    image = fill("image", (2, *card.preprocessing["input_size"]))
    with torch.no_grad():
        wanted = theirs(image.float())
    assert relative_error(ours(ms.Tensor(image.numpy(), ms.float32)).asnumpy(), wanted) <= 1e-4
    assert ms.load_param_into_net(ours, ms.load_checkpoint(str(tmp_path / "there.ckpt")), True)[0] == []

    convert(tmp_path / "there.ckpt", tmp_path / "back.ckpt")
    restored, known = opened_model.load_model(tmp_path / "back.ckpt")
    assert known == card
    returned, state = restored.state_dict(), theirs.state_dict()
    assert returned.keys() == state.keys()
    assert all(torch.equal(returned[key], value) for key, value in state.items())

    convert(tmp_path / "there.ckpt", tmp_path / "out.safetensors")
    convert(tmp_path / "out.safetensors", tmp_path / "again.ckpt", to="mindspore")
    assert all((read_weights(tmp_path / "again.ckpt")[key] == value.numpy()).all() for key, value in state.items())


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("msg_transformer_tiny", {**MSG, "exchange": "mean"}, "no exchange 'mean' for MindSpore, known: shuffle, none"),
        ("sgformer_small", {**ONE_STAGE, "attention": "local"}, "no attention 'local' for MindSpore, known: 'hybrid'"),
        ("sgformer_small", {**ONE_STAGE, "reallocation": "random"}, "no reallocation 'random' for MindSpore, known: '"),
        (
            "sgformer_small",
            {**ONE_STAGE, "local_position": False},
            "no local_position False for MindSpore, known: T",
        ),
        ("msg_transformer_tiny", {**MSG, "global_pool": "avgmax"}, "global_pool must be 'avg' or 'max'"),
        ("test_resnet", {}, "MindSpore supports this package's models only, not test_resnet"),
    ],
)
def test_unsupported_settings_are_an_error(name, args, message, tmp_path):
    write_trained(tmp_path / "best.ckpt", name, args)
    with pytest.raises(UserError, match=f"^to: .*{message}.*; omit the option$") as caught:
        convert(tmp_path / "best.ckpt", tmp_path / "there.ckpt", to="mindspore")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]


def test_weights_without_card_are_not_a_checkpoint(tmp_path):
    save_file(create_torch_model("sgformer_small", num_classes=3).state_dict(), tmp_path / "in.safetensors")
    convert(tmp_path / "in.safetensors", tmp_path / "there.ckpt", num_classes=3, to="mindspore")
    with pytest.raises(
        UserError, match=r"^output '.*new\.ckpt' can't be a checkpoint, since 'there\.ckpt' doesn't record"
    ):
        convert(tmp_path / "there.ckpt", tmp_path / "new.ckpt", num_classes=3)
    with pytest.raises(UserError, match=r"there\.ckpt' does not name its model; convert a checkpoint of"):
        load_model(tmp_path / "there.ckpt")


def test_optimizer_state_is_ignored(tmp_path):
    model = create_model("msg_transformer_tiny", embed_dim=16, depths=(1,), num_heads=(1,), shuffle_sizes=(4,))
    optimizer = ms.nn.Adam(model.trainable_params())
    ms.save_checkpoint(ms.nn.TrainOneStepCell(model, optimizer), str(tmp_path / "a.ckpt"))
    assert any(name.startswith("moment1.") for name in ms.load_checkpoint(str(tmp_path / "a.ckpt")))
    load_weights(model, read_weights(tmp_path / "a.ckpt"))


def test_invalid_files_are_an_error(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"\nnothing of the kind")
    with pytest.raises(UserError, match=r"a\.ckpt' is neither a MindSpore checkpoint nor a safetensors file"):
        convert(tmp_path / "a.ckpt", tmp_path / "b.safetensors")
    with pytest.raises(UserError, match=r"has to end with \.ckpt; try 'b\.ckpt'"):
        convert(tmp_path / "a.ckpt", tmp_path / "b.safetensors", to="mindspore")
    model = create_model("msg_transformer_tiny", embed_dim=16, depths=(1,), num_heads=(1,), shuffle_sizes=(4,))
    weights = {name.replace("gamma", "weight"): value.asnumpy() for name, value in model.parameters_and_names()}
    with pytest.raises(UserError, match="msg_tokens is missing in the weights"):
        load_weights(model, {name: value for name, value in weights.items() if name != "msg_tokens"})
    with pytest.raises(UserError, match="the weights contain tail, which is not part"):
        load_weights(model, {**weights, "tail": weights["msg_tokens"]})
    with pytest.raises(UserError, match=r"msg_tokens has shape \(1, 16, 16\), not \(1, 16, 1, 16\)"):
        load_weights(model, {**weights, "msg_tokens": weights["msg_tokens"][:, :, 0]})

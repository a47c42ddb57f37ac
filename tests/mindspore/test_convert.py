"""Weights from PyTorch to MindSpore and back, by files."""

import mindspore as ms
import pytest
import torch
from golden import relative_error
from safetensors.torch import load_file, save_file

from models.fill import fill
from msgformer.api.convert import convert
from msgformer.errors import UserError
from msgformer.mindspore import create_model, load_weights, read_weights
from msgformer.models import create_model as create_torch_model


@pytest.mark.parametrize("name", ["msg_transformer_v1_tiny", "sgformer_small"])
def test_weights_come_back_as_they_went(name, tmp_path):
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


def test_either_file_makes_the_same_model(tmp_path):
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


def test_of_a_training_only_the_models_weights_are_read(tmp_path):
    model = create_model("msg_transformer_tiny", embed_dim=16, depths=(1,), num_heads=(1,), shuffle_sizes=(4,))
    optimizer = ms.nn.Adam(model.trainable_params())
    ms.save_checkpoint(ms.nn.TrainOneStepCell(model, optimizer), str(tmp_path / "a.ckpt"))
    assert any(name.startswith("moment1.") for name in ms.load_checkpoint(str(tmp_path / "a.ckpt")))
    load_weights(model, read_weights(tmp_path / "a.ckpt"))


def test_a_mistake_is_told_in_one_line(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"\nnothing of the kind")
    with pytest.raises(UserError, match=r"a\.ckpt' is neither a MindSpore checkpoint nor a safetensors file"):
        convert(tmp_path / "a.ckpt", tmp_path / "b.safetensors")
    with pytest.raises(UserError, match=r"has to end with \.ckpt; try 'b\.ckpt'"):
        convert(tmp_path / "a.ckpt", tmp_path / "b.safetensors", to="mindspore")
    model = create_model("msg_transformer_tiny", embed_dim=16, depths=(1,), num_heads=(1,), shuffle_sizes=(4,))
    weights = {name.replace("gamma", "weight"): value.asnumpy() for name, value in model.parameters_and_names()}
    with pytest.raises(UserError, match="the weights lack msg_tokens"):
        load_weights(model, {name: value for name, value in weights.items() if name != "msg_tokens"})
    with pytest.raises(UserError, match="the weights have tail, which is not part"):
        load_weights(model, {**weights, "tail": weights["msg_tokens"]})
    with pytest.raises(UserError, match=r"msg_tokens has shape \(1, 16, 16\), not \(1, 16, 1, 16\)"):
        load_weights(model, {**weights, "msg_tokens": weights["msg_tokens"][:, :, 0]})

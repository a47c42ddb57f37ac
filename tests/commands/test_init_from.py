import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from msgformer.commands.init_from import init_from
from msgformer.errors import UserError
from msgformer.models import create_model


@pytest.fixture(scope="module")
def swin():
    torch.manual_seed(0)
    return timm.create_model("swin_tiny_patch4_window7_224", num_classes=10)


@pytest.fixture
def checkpoint(swin, tmp_path):
    torch.save({"model": swin.state_dict()}, tmp_path / "swin.pth")
    return tmp_path / "swin.pth"


def test_version_1_takes_all_weights_of_a_swin(swin, checkpoint, tmp_path):
    result = init_from(str(checkpoint), tmp_path / "out.safetensors", num_classes=10)
    assert not result.stretched
    assert {name.split(".")[-1] for name in result.new} == {"msg_tokens", "rel_pos_msg"}
    state = load_file(result.output)
    create_model("msg_transformer_v1_tiny", num_classes=10).load_state_dict(state)
    assert torch.equal(state["stages.2.blocks.5.mlp.fc1.weight"], swin.state_dict()["layers.2.blocks.5.mlp.fc1.weight"])
    with safe_open(result.output, "pt") as file:
        assert file.metadata()["model"] == "msg_transformer_v1_tiny"
    assert "new: msg_tokens, stages.blocks.attn.rel_pos_msg" in result.table()


def test_the_seed_determines_new_parameters(checkpoint, tmp_path):
    files = [
        init_from(str(checkpoint), tmp_path / f"{n}.safetensors", seed=seed).output for n, seed in enumerate([1, 1, 2])
    ]
    first, same, other = (load_file(file)["msg_tokens"] for file in files)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_model_saved_in_the_hubs_layout(swin, tmp_path):
    timm.models.save_for_hf(swin, tmp_path / "hub", safe_serialization=True)
    result = init_from(f"local-dir:{tmp_path / 'hub'}", tmp_path / "out.safetensors", model="msg_tiny_p4_win7_224")
    assert result.model == "msg_transformer_tiny"
    assert "stages.0.blocks.0.attn.qkv.weight" in result.stretched


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        ("swin_tiny_patch4_window7_22", {}, "did you mean 'swin_tiny_patch4_window7_224'"),
        ("gone.pth", {}, "'gone.pth' doesn't exist"),
        ("swin_tiny_patch4_window7_224", {}, "can't be downloaded .*give its path"),
        ("swin_tiny_patch4_window7_224", {"model": "sgformer_small"}, "fit MSG-Transformer only, not sgformer_small"),
        ("swin_tiny_patch4_window7_224", {"output": "out.pth"}, "has to end with .safetensors"),
    ],
)
def test_unusable_arguments_are_named(tmp_path, source, settings, message):
    output = tmp_path / settings.pop("output", "out.safetensors")
    with pytest.raises(UserError, match=message):
        init_from(source, output, **settings)
    assert not output.exists()

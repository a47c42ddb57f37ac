import pytest
import timm
import torch
from safetensors.torch import save_file

import msgformer.models  # noqa: F401
from heads.conftest import TINY
from msgformer.errors import UserError
from msgformer.heads.backbone import create_backbone

NAME = "msg_transformer_tiny"


@pytest.fixture
def classifier():
    return timm.create_model(NAME, num_classes=10, **TINY).eval()


def test_a_classifier_becomes_a_backbone(classifier, tmp_path):
    torch.save({"model": classifier.state_dict(), "epoch": 3}, tmp_path / "best.pth")
    backbone = create_backbone(NAME, checkpoint=tmp_path / "best.pth", map_norm=False, **TINY).eval()
    x = torch.rand(1, 3, 64, 64)
    expected = classifier.forward_intermediates(x, intermediates_only=True)
    for ours, theirs in zip(backbone(x), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_safetensors_and_bias_tables_of_another_window(classifier, tmp_path):
    save_file(classifier.state_dict(), tmp_path / "best.safetensors")
    backbone = create_backbone(NAME, checkpoint=tmp_path / "best.safetensors", window_size=8, **TINY)
    table = backbone.body.model.stages[0].blocks[0].attn.relative_position_bias_table
    source = classifier.stages[0].blocks[0].attn.relative_position_bias_table
    assert table.shape == (15 * 15, 1)
    assert source.shape == (13 * 13, 1)
    torch.testing.assert_close(table[15 * 15 // 2], source[13 * 13 // 2], atol=0.01, rtol=0)


def test_other_models_of_timm(tmp_path):
    classifier = timm.create_model("resnet18", num_classes=5)
    torch.save({"state_dict": {f"module.{k}": v for k, v in classifier.state_dict().items()}}, tmp_path / "r.pth")
    backbone = create_backbone("resnet18", checkpoint=tmp_path / "r.pth")
    assert torch.equal(backbone.body.model.layer4[0].conv1.weight, classifier.layer4[0].conv1.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("stages.1.blocks.0.norm1.bias"), "stages.1.blocks.0.norm1.bias is missing"),
        (lambda s: s.update({"stages.9.x": torch.zeros(1)}), "stages.9.x is not part of the model"),
        (lambda s: s.update({"patch_embed.norm.bias": torch.zeros(3)}), r"patch_embed.norm.bias has shape \(3,\)"),
    ],
)
def test_unsuitable_checkpoint_is_an_error(classifier, tmp_path, change, message):
    state = classifier.state_dict()
    change(state)
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(UserError, match=message):
        create_backbone(NAME, checkpoint=tmp_path / "bad.pth", **TINY)

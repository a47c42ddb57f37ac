import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import msgformer.models  # noqa: F401
from heads.conftest import TINY
from msgformer.errors import UserError
from msgformer.heads.backbone import create_backbone

SWIN = "swin_tiny_patch4_window7_224"
SMALL_SG = {"embed_dims": (16, 32, 64, 128), "depths": (2, 2, 2, 1), "num_heads": (2, 2, 2, 2)}


@pytest.mark.parametrize(
    ("name", "options", "normed"),
    [
        ("msg_transformer_tiny", TINY, True),
        ("msg_tiny_p4_win7_224", TINY, True),
        ("sgformer_small", SMALL_SG, False),
        (SWIN, TINY, True),
        ("resnet18", {}, False),
        ("convnext_atto", {"dims": (16, 16, 32, 32), "depths": (1, 1, 1, 1)}, True),
        ("pvt_v2_b0", {}, False),
    ],
)
def test_maps_of_any_size_from_any_model(name, options, normed):
    backbone = create_backbone(name, **options).eval()
    for height, width in ((64, 64), (96, 160)):
        maps = backbone(torch.rand(2, 3, height, width))
        expected = [
            (2, channels, height // stride, width // stride)
            for channels, stride in zip(backbone.channels, (4, 8, 16, 32), strict=True)
        ]
        assert [tuple(x.shape) for x in maps] == expected
    assert [isinstance(norm, nn.LayerNorm) for norm in backbone.norms] == [normed] * 4
    if normed:
        torch.testing.assert_close(maps[0].mean(1), torch.zeros(2, 24, 40), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "options"), [("resnet18", {}), (SWIN, {"strict_img_size": False, **TINY})])
def test_modules_are_accepted_as_backbones(name, options):
    """Also those with channels last, and with timm's flattened names."""
    body = timm.create_model(name, features_only=True, out_indices=(-4, -3, -2, -1), **options)
    backbone = create_backbone(body, frozen_stages=1).eval()
    maps = backbone(torch.rand(1, 3, 64, 96))
    assert [tuple(x.shape[1:]) for x in maps] == [
        (channels, 64 // stride, 96 // stride)
        for channels, stride in zip(backbone.channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("mode", ["as created", "after train()"])
def test_frozen_stages_keep_weights_and_statistics(mode):
    backbone = create_backbone("resnet18", frozen_stages=2)
    if mode == "after train()":
        backbone.eval().train()
    frozen = {name for name, p in backbone.named_parameters() if not p.requires_grad}
    assert {name.split(".")[2] for name in frozen} == {"conv1", "bn1", "layer1", "layer2"}
    assert all(p.requires_grad for name, p in backbone.named_parameters() if "layer3" in name)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone(torch.rand(2, 3, 64, 64))
    changed = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("layer3" in name or "layer4" in name for name in changed)


def test_frozen_stages_of_ours():
    backbone = create_backbone("msg_transformer_tiny", frozen_stages=1, **TINY)
    frozen = {name.removeprefix("body.model.") for name, p in backbone.named_parameters() if not p.requires_grad}
    assert "msg_tokens" in frozen
    assert {name.split(".")[0] for name in frozen} == {"msg_tokens", "patch_embed", "stages"}
    assert {name.split(".")[1] for name in frozen if name.startswith("stages")} == {"0"}


@pytest.mark.parametrize("name", ["msg_transformer_tiny", SWIN])
def test_gradients_are_the_same_with_checkpointing(name):
    torch.manual_seed(0)
    plain = create_backbone(name, **TINY)
    torch.manual_seed(0)
    saving = create_backbone(name, grad_checkpointing=True, **TINY)
    saving.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 64, 64)
    for backbone in (plain, saving):
        sum(feature.square().sum() for feature in backbone(x)).backward()
    for ours, theirs in zip(saving.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize(
    ("backbone", "options", "message"),
    [
        ("msg_transformer_tinny", {}, "unknown backbone 'msg_transformer_tinny'; did you mean"),
        ("vit_tiny_patch16_224", {}, r"has maps of stride \(16, 16, 16, 16\)"),
        (nn.Conv2d(3, 8, 1), {}, "Conv2d has no feature_info"),
        ("resnet18", {"frozen_stages": 5}, "frozen_stages=5"),
    ],
)
def test_unsuitable_backbone_is_an_error(backbone, options, message):
    with pytest.raises(UserError, match=message):
        create_backbone(backbone, **options)


def test_model_options_with_a_module_are_an_error():
    body = timm.create_model("resnet18", features_only=True, out_indices=(1, 2, 3, 4))
    with pytest.raises(UserError, match="options checkpoint, drop_path_rate need a model name"):
        create_backbone(body, checkpoint="x.pth", drop_path_rate=0.1)


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

"""Conversion of official checkpoints with any wrapper, and errors for checkpoints of other models."""

import argparse
import re

import pytest
import timm
import torch

import msgformer.models  # noqa: F401, registers the models
from msgformer.checkpoints.weights_file import read_checkpoint
from msgformer.errors import UserError
from msgformer.model_names import MODELS
from msgformer.models.official_weights import convert_state_dict, find_variant, our_name, rename_official

from . import official

COUNTS = {  # tensors, parameters; both of the released code
    "msg_transformer_tiny": (329, 25_086_116),
    "msg_transformer_small": (329, 55_968_514),
    "msg_transformer_base": (553, 84_392_770),
    "msg_transformer_v1_tiny": (186, 28_290_166),
    "msg_transformer_v1_small": (354, 49_608_358),
    "msg_transformer_v1_base": (354, 87_771_024),
    "sgformer_small": (669, 22_545_981),
    "sgformer_medium": (1069, 38_689_316),
    "sgformer_base": (1017, 77_950_293),
}
MSG = [
    ("layers.1.blocks.2.norm1.bias", "stages.1.blocks.2.norm1.bias"),
    ("layers.1.blocks.12.attn.qkv.weight", "stages.1.blocks.12.attn.qkv.weight"),
    ("layers.0.blocks.0.attn.rel_pos_msg", "stages.0.blocks.0.attn.rel_pos_msg"),
    ("layers.0.blocks.1.mlp.fc2.bias", "stages.0.blocks.1.mlp.fc2.bias"),
    ("layers.0.downsample.reduction.weight", "stages.1.downsample.reduction.weight"),
    ("layers.2.downsample.norm.bias", "stages.3.downsample.norm.bias"),
    ("msg_tokens", "msg_tokens"),
    ("patch_embed.proj.weight", "patch_embed.proj.weight"),
    ("norm.weight", "norm.weight"),
    ("head.weight", "head.fc.weight"),
]
STEM_AND_MERGING = [
    ("pos_embed", "pos_embed"),
    ("patch_embed1.conv.0.c.weight", "patch_embed.layers.0.conv.weight"),
    ("patch_embed1.conv.2.bn.bias", "patch_embed.layers.1.norm.bias"),
    ("patch_embed1.conv.4.c.weight", "patch_embed.layers.2.conv.weight"),
    ("patch_embed1.norm.weight", "patch_embed.norm.weight"),
    ("patch_embed2.conv1.c.weight", "stages.1.downsample.layers.0.conv.weight"),
    ("patch_embed4.conv3.bn.bias", "stages.3.downsample.layers.2.norm.bias"),
    ("norm1.weight", "stages.0.norm.weight"),
    ("norm4.bias", "stages.3.norm.bias"),
    ("head.bias", "head.fc.bias"),
]
BLOCKS = [
    ("block1.0.attn.q1.weight", "stages.0.blocks.0.attn.q_global.weight"),
    ("block2.2.attn.kv1.bias", "stages.1.blocks.2.attn.kv_global.bias"),
    ("block3.10.attn.q2.weight", "stages.2.blocks.10.attn.q_local.weight"),
    ("block3.4.attn.kv2.weight", "stages.2.blocks.4.attn.kv_local.weight"),
    ("block1.0.attn.sr.bias", "stages.0.blocks.0.attn.reduction.bias"),
    ("block1.0.attn.norm.weight", "stages.0.blocks.0.attn.reduction_norm.weight"),
    ("block1.1.attn.q.weight", "stages.0.blocks.1.attn.q.weight"),
    ("block2.3.attn.kv1.bias", "stages.1.blocks.3.attn.kv_row.bias"),
    ("block3.21.attn.kv2.weight", "stages.2.blocks.21.attn.kv_column.weight"),
    ("block1.1.attn.f1.weight", "stages.0.blocks.1.attn.merge.0.weight"),
    ("block2.1.attn.f3.bias", "stages.1.blocks.1.attn.merge.2.bias"),
    ("block4.0.attn.q.weight", "stages.3.blocks.0.attn.q.weight"),
    ("block4.1.attn.kv.bias", "stages.3.blocks.1.attn.kv.bias"),
    ("block1.0.norm1.weight", "stages.0.blocks.0.norm1.weight"),
    ("block4.0.norm2.bias", "stages.3.blocks.0.norm2.bias"),
    ("block1.0.attn.lepe_linear.weight", "stages.0.blocks.0.attn.lepe.linear.weight"),
    ("block1.1.attn.lepe_conv.bias", "stages.0.blocks.1.attn.lepe.conv.bias"),
    ("block4.0.attn.proj.weight", "stages.3.blocks.0.attn.proj.weight"),
    ("block3.3.mlp.fc1.bias", "stages.2.blocks.3.mlp.fc1.bias"),
    ("block3.3.mlp.dwconv.dwconv.weight", "stages.2.blocks.3.mlp.dwconv.weight"),
]
PAIRS = MSG + STEM_AND_MERGING + BLOCKS

TINY_MSG = dict(embed_dim=16, depths=(2, 1, 1, 1), num_heads=(1, 1, 2, 2), num_classes=3)
TINY_SG = dict(embed_dims=(8, 16, 24, 32), depths=(2, 3, 2, 1), num_heads=(2, 2, 2, 2), num_classes=3, img_size=32)


def tiny(family):
    """A small model, and an official state dict for it with values that tell its tensors apart."""
    if family == "sg":
        shapes = official.sg_former(TINY_SG["embed_dims"], TINY_SG["depths"], classes=3, size=32)
        model = timm.create_model("sgformer_small", **TINY_SG)
    else:
        overlapping = family == "msg"
        settings = TINY_MSG["embed_dim"], TINY_MSG["depths"], TINY_MSG["num_heads"]
        shapes = official.msg_transformer(*settings, overlapping=overlapping, classes=3)
        model = timm.create_model("msg_transformer_tiny", overlapping=overlapping, **TINY_MSG)
    return model, {name: torch.full(shape, float(i)) for i, (name, shape) in enumerate(shapes.items())}


def of_variant(name, **settings):
    """An official state dict without data, and the empty model that it is of."""
    state = {name: torch.empty(shape, device="meta") for name, shape in official.variant(name).items()}
    return state, empty_model(name, **settings)


def empty_model(name, **settings):
    with torch.device("meta"):
        return timm.create_model(name, **settings)


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_names(theirs, ours):
    assert our_name(theirs) == ours
    assert our_name(ours) == ours


@pytest.mark.parametrize("family", ["msg", "msg v1", "sg"])
def test_checkpoint_loads_with_unchanged_values(family):
    model, state = tiny(family)
    converted = convert_state_dict(state, model)
    assert list(converted) == list(model.state_dict())
    assert sorted(float(value.flatten()[0]) for value in converted.values()) == list(range(len(state)))
    for theirs, ours in PAIRS:
        if theirs in state and ours in converted:
            assert torch.equal(converted[ours], state[theirs])
    model.load_state_dict(converted)


@pytest.mark.parametrize("family", ["msg", "msg v1", "sg"])
def test_our_own_names_are_accepted(family):
    model, _ = tiny(family)
    own = model.state_dict()
    converted = convert_state_dict({"state_dict": own}, model)
    assert list(converted) == list(own)
    assert all(converted[name].data_ptr() == own[name].data_ptr() for name in own)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("key", [None, "model", "state_dict", "state_dict_ema"])
def test_wrapper_keys_and_prefixes(prefix, key):
    model, state = tiny("msg")
    wrapped = {f"{prefix}{name}": value for name, value in state.items()}
    checkpoint = wrapped if key is None else {"epoch": 1, key: wrapped, "optimizer": {"state": {}}}
    assert torch.equal(convert_state_dict(checkpoint, model)["norm.bias"], state["norm.bias"])


def test_averaged_weights_are_preferred_by_default():
    model, state = tiny("sg")
    averaged = {name: value + 0.5 for name, value in state.items()}
    checkpoint = {"state_dict": state, "state_dict_ema": averaged}
    assert torch.equal(convert_state_dict(checkpoint, model)["head.fc.bias"], averaged["head.bias"])
    assert torch.equal(convert_state_dict(checkpoint, model, ema=False)["head.fc.bias"], state["head.bias"])


def test_buffers_of_the_released_code_are_dropped_and_parameters_become_tensors():
    model, state = tiny("msg")
    state["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    state["layers.0.blocks.1.attn_mask"] = torch.zeros(4, 49, 49)
    state["norm.bias"] = torch.nn.Parameter(state["norm.bias"])
    converted = convert_state_dict(state, model)
    assert len(converted) == len(state) - 2
    assert not converted["norm.bias"].requires_grad


def test_a_file_with_configurations_converts(tmp_path):
    model, state = tiny("msg")
    torch.save({"model": state, "config": argparse.Namespace(lr=1e-3)}, tmp_path / "official.pth")
    converted = convert_state_dict(read_checkpoint(tmp_path / "official.pth"), model)
    assert torch.equal(converted["msg_tokens"], state["msg_tokens"])


@pytest.mark.parametrize("name", ["msg_transformer_tiny", "msg_transformer_v1_tiny", "sgformer_small"])
def test_released_checkpoint_matches_the_model(name):
    check_variant(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_released_checkpoint_matches_its_model(name):
    check_variant(name)


def check_variant(name):
    state, model = of_variant(name)
    converted = convert_state_dict(state, model)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    assert {name: value.shape for name, value in converted.items()} == shapes
    assert (len(converted), sum(value.numel() for value in converted.values())) == COUNTS[name]


@pytest.mark.parametrize(
    ("name", "other", "message"),
    [
        (
            "msg_transformer_tiny",
            "msg_transformer_small",
            "'msg_tokens' is (1, 16, 1, 64) in the checkpoint and (1, 16, 1, 96) in the model"
            " (the first of 328 differences); the checkpoint looks like 'msg_transformer_tiny'",
        ),
        (
            "msg_transformer_small",
            "msg_transformer_base",
            "the checkpoint has no 'stages.2.blocks.12.norm1.weight', which is (384,) in the model"
            " (the first of 224 differences); the checkpoint looks like 'msg_transformer_small'",
        ),
        (
            "msg_transformer_v1_tiny",
            "sgformer_small",
            "the checkpoint has no 'patch_embed.layers.0.conv.weight', which is (64, 3, 3, 3) in the model"
            " (the first of 740 differences); the checkpoint looks like 'msg_transformer_v1_tiny'",
        ),
        (
            "sgformer_medium",
            "sgformer_small",
            "the model has no 'stages.1.blocks.4.norm1.weight', which is (128,) in the checkpoint"
            " (the first of 400 differences); the checkpoint looks like 'sgformer_medium'",
        ),
    ],
)
def test_checkpoint_of_another_model_is_an_error(name, other, message):
    state, _ = of_variant(name)
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        convert_state_dict(state, empty_model(other))


@pytest.mark.parametrize(
    ("family", "change", "remedy"),
    [
        ("msg", {"head.weight": (5, 128), "head.bias": (5,)}, "num_classes=5"),
        ("msg", {"head.weight": None, "head.bias": None}, "num_classes=0"),
        ("sg", {"pos_embed": (1, 784, 8)}, "img_size=112"),
        ("sg", {"pos_embed": (1, 6, 8)}, "img_size=(height, width), 6 x 16 pixels"),
        ("sg", {"pos_embed": (1, 256, 8), "head.weight": (5, 32)}, "num_classes=5 and img_size=64"),
        ("sg", {"pos_embed": None}, "give the model of the checkpoint"),
        ("msg", {"msg_tokens": (1, 4, 1, 16)}, "give the model of the checkpoint"),
    ],
)
def test_other_model_arguments_error_names_the_remedy(family, change, remedy):
    model, state = tiny(family)
    for name, shape in change.items():
        del state[name]
        if shape:
            state[name] = torch.zeros(shape)
    with pytest.raises(UserError, match=re.escape(remedy)) as error:
        convert_state_dict(state, model)
    assert any(our_name(name) in str(error.value) for name in change)
    assert "\n" not in str(error.value)


def test_non_tensor_is_an_error():
    with pytest.raises(UserError, match="'epoch' is of type int, not a tensor; parameters are expected"):
        rename_official({"epoch": 3, "weights": {}})


def test_duplicate_parameter_is_an_error():
    _, state = tiny("msg")
    with pytest.raises(UserError, match=r"'head\.fc\.bias' twice, once as 'head\.fc\.bias'"):
        rename_official({**state, "head.fc.bias": torch.zeros(3)})


def test_variants_are_identified_at_any_size_and_number_of_classes():
    state = empty_model("sgformer_medium", num_classes=7, img_size=64).state_dict()
    assert find_variant(state) == "sgformer_medium"
    del state["stages.0.norm.weight"]
    assert find_variant(state) is None

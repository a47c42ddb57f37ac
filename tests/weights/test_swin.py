"""An MSG-Transformer with weights of a Swin computes the same if its messengers have no effect."""

import pytest
import timm
import torch

import msgformer.models  # noqa: F401
from msgformer.errors import UserError
from msgformer.weights.swin import load_swin

WIDTHS = {"embed_dim": 32, "depths": (2, 2, 2), "num_heads": (1, 2, 4)}


def make_swin(seed=0, **settings):
    torch.manual_seed(seed)
    settings = {"img_size": 112, "num_classes": 5, **WIDTHS, **settings}
    swin = timm.create_model("swin_tiny_patch4_window7_224", **settings).double().eval()
    with torch.no_grad():
        for parameter in swin.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return swin


def make_msg(name="msg_transformer_v1_tiny", **settings):
    torch.manual_seed(1)
    settings = {"num_classes": 5, "shuffle_sizes": (4, 4, 4), **WIDTHS, **settings}
    return timm.create_model(name, **settings).double().eval()


def official_names(state):
    """Rename parameters to those of the official repository."""
    renamed = {}
    for name, value in state.items():
        if name.startswith("layers.") and ".downsample." in name:
            stage = int(name.split(".")[1])
            name = name.replace(f"layers.{stage}.", f"layers.{stage - 1}.", 1)
        renamed[name.replace("head.fc.", "head.")] = value
    return {**renamed, "layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49)}


def without_shifts(swin):
    for layer in swin.layers:
        for block in layer.blocks:
            block.shift_size, block.attn_mask = (0, 0), None
    return swin


def silence_messengers(model):
    with torch.no_grad():
        for stage in model.stages:
            for block in stage.blocks:
                block.attn.rel_pos_msg[:, 0] = -1e9  # no patch looks at a messenger
    return model


@pytest.mark.parametrize("names", [dict, official_names])
def test_version_1_with_silent_messengers_is_the_swin_without_shifts(names):
    swin, model = without_shifts(make_swin()), make_msg(exchange="none")
    report = load_swin(model, names(swin.state_dict()))
    assert not report.resized
    assert set(report.new) == {n for n in model.state_dict() if n.endswith(("msg_tokens", "rel_pos_msg"))}
    x = torch.randn(2, 3, 112, 112, dtype=torch.float64)
    theirs = swin.forward_intermediates(x, norm=True, intermediates_only=True)
    ours = silence_messengers(model).forward_intermediates(x, norm=True, intermediates_only=True)
    for mine, swins in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, swins, rtol=1e-10, atol=1e-10)
    assert torch.equal(model.get_classifier().weight, swin.get_classifier().weight)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"embed_dim": 64, "num_heads": (2, 4, 8)},
        {"embed_dim": 96, "num_heads": (3, 6, 12)},
        {"depths": (1, 3, 5)},
        {"window_size": 4},
        {"in_chans": 1},
        {"num_classes": 9},
    ],
)
@pytest.mark.parametrize("name", ["msg_transformer_tiny", "msg_transformer_v1_tiny"])
def test_every_variant_loads_the_weights_that_fit(name, settings):
    model = make_msg(name, **settings)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = load_swin(model, make_swin(embed_dim=64, num_heads=(2, 4, 8)).state_dict())
    after = model.state_dict()
    assert sorted([*report.copied, *report.resized, *report.new]) == sorted(after)
    assert all(torch.equal(after[name], before[name]) for name in report.new)
    assert not any(torch.equal(after[name], before[name]) for name in [*report.copied, *report.resized])
    expected = ("msg_tokens", "rel_pos_msg", "downsample.norm.weight", "downsample.norm.bias", "fc.weight", "fc.bias")
    assert all(name.endswith(expected) for name in report.new)
    assert model(torch.randn(1, settings.get("in_chans", 3), 60, 70, dtype=torch.float64)).isfinite().all()


def test_doubled_channels_compute_the_same():
    # LayerNorms see the same mean and variance, and sums weight each copy by 1/2: the output is the Swin's, twice.
    swin = without_shifts(make_swin(embed_dim=32, num_heads=(1, 2, 4)))
    model = silence_messengers(make_msg(exchange="none", embed_dim=64, num_heads=(2, 4, 8)))
    load_swin(model, swin.state_dict())
    silence_messengers(model)
    x = torch.randn(1, 3, 112, 112, dtype=torch.float64)
    theirs = swin.forward_intermediates(x, intermediates_only=True)
    ours = model.forward_intermediates(x, intermediates_only=True)
    for mine, swins in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, torch.cat([swins, swins], dim=1), rtol=1e-9, atol=1e-9)


def test_the_overlapping_stem_embeds_the_kernel_of_the_swin():
    swin, model = make_swin(), make_msg("msg_transformer_tiny")
    load_swin(model, swin.state_dict())
    x = torch.randn(1, 3, 112, 112, dtype=torch.float64)
    torch.testing.assert_close(model.patch_embed(x), swin.patch_embed(x))


def test_overlapping_merging_reads_the_four_tokens_that_the_swin_merges():
    """With scale 1 and shift 0, the convolution is the linear layer of the Swin on the last 2 x 2 of 3 x 3 tokens."""
    swin, model = make_swin(), make_msg("msg_transformer_tiny")
    merging = swin.layers[1].downsample
    with torch.no_grad():
        merging.norm.weight.fill_(1)
        merging.norm.bias.zero_()
    load_swin(model, swin.state_dict())
    x = torch.randn(1, 8, 6, 32, dtype=torch.float64)
    top, bottom = x[:, ::2], x[:, 1::2]
    merged = torch.cat([top[:, :, ::2], bottom[:, :, ::2], top[:, :, 1::2], bottom[:, :, 1::2]], dim=-1)
    convolution = model.stages[1].downsample.reduction
    found = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), convolution.weight, stride=2, padding=1)
    torch.testing.assert_close(found.permute(0, 2, 3, 1), merging.reduction(merged))


@pytest.mark.parametrize(
    ("model", "state", "message"),
    [
        (lambda: timm.create_model("resnet10t"), dict, "MSG-Transformer only, not ResNet"),
        (make_msg, lambda _: {"layers.0.weight": torch.zeros(1)}, "not weights of a Swin Transformer"),
        (lambda: make_msg(num_heads=(2, 4, 8)), dict, "heads are 32 channels wide and the model's 16"),
    ],
)
def test_incompatible_models_are_refused(model, state, message):
    with pytest.raises(UserError, match=message):
        load_swin(model(), state(make_swin().state_dict()))

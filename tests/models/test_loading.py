"""Loading weights into a model with other classes, from the files of training programs."""

import pytest
import timm
import torch

import msgformer.models  # noqa: F401
from msgformer.errors import UserError
from msgformer.models.loading import load_weights

TINY = {"embed_dim": 32, "depths": (1, 1), "num_heads": (1, 2), "shuffle_sizes": (4, 4)}


def build(num_classes, seed, **settings):
    torch.manual_seed(seed)
    return timm.create_model("msg_transformer_tiny", num_classes=num_classes, **{**TINY, **settings})


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
@pytest.mark.parametrize("key", [None, "model", "state_dict", "state_dict_ema"])
def test_other_number_of_classes_leaves_the_head_unchanged(tmp_path, prefix, key):
    source, model = build(5, seed=1), build(3, seed=2)
    head = model.get_classifier().weight.clone()
    state = {f"{prefix}{name}": value for name, value in source.state_dict().items()}
    if prefix == "model.":
        state["scores.seen"] = torch.zeros(1)  # as beside the model in a Lightning module
    torch.save(state if key is None else {key: state, "epoch": 3}, tmp_path / "a.pth")
    kept = load_weights(model, tmp_path / "a.pth", may_differ=("head",))
    assert sorted(kept) == ["head.fc.bias", "head.fc.weight"]
    assert torch.equal(model.get_classifier().weight, head)
    assert torch.equal(model.stages[0].blocks[0].attn.qkv.weight, source.stages[0].blocks[0].attn.qkv.weight)


@pytest.mark.parametrize(("key", "averaged"), [("state_dict", "state_dict_ema"), ("model", "model_ema")])
def test_averaged_weights_are_preferred(tmp_path, key, averaged):
    source, other, model = build(3, seed=1), build(3, seed=2), build(3, seed=3)
    torch.save({key: other.state_dict(), averaged: source.state_dict()}, tmp_path / "a.pth")
    load_weights(model, tmp_path / "a.pth")
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in model.state_dict().items())


def test_same_number_of_classes_loads_the_head(tmp_path):
    source, model = build(5, seed=1), build(5, seed=2)
    torch.save(source.state_dict(), tmp_path / "a.pth")
    assert load_weights(model, tmp_path / "a.pth", may_differ=("head",)) == []
    assert torch.equal(model.get_classifier().weight, source.get_classifier().weight)


def test_other_width_is_an_error_even_if_the_head_may_differ(tmp_path):
    torch.save(build(5, seed=1).state_dict(), tmp_path / "a.pth")
    wide = build(5, seed=2, embed_dim=64)
    with pytest.raises(UserError, match=r"a\.pth.*msg_tokens has shape .*32\), not .*64\).*the same model"):
        load_weights(wide, tmp_path / "a.pth", may_differ=("head",))


@pytest.mark.parametrize("messengers", ["learned", "shared"])
def test_other_window_is_resampled_for_classes_of_any_module(tmp_path, messengers):
    source, model = build(5, seed=1), build(5, seed=2, window_size=5, messengers=messengers)
    torch.save(source.state_dict(), tmp_path / "a.pth")
    assert load_weights(model, tmp_path / "a.pth") == []
    source.set_input_size(window_size=5)
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_other_window_is_refused_if_the_window_of_the_checkpoint_is_not_square(tmp_path):
    torch.save(build(5, seed=1, window_size=(4, 8)).state_dict(), tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"has 105 entries, .*set the window_size of the checkpoint, not 7 x 7"):
        load_weights(build(5, seed=2), tmp_path / "a.pth")

"""Alternatives to the paper's messengers: each changes only what it documents."""

import pytest
import torch

from msgformer.models import MsgTransformer, create_model, messenger_registry, register_messengers
from msgformer.models.window import to_windows

SIZES = {"embed_dim": 16, "depths": (2, 1), "num_heads": (1, 2), "window_size": 4, "shuffle_sizes": (4, 4)}
IMAGE = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))


def make(messengers, name="msg_transformer_v1_tiny", **settings):
    torch.manual_seed(0)
    sizes = {**SIZES, "num_classes": 5, "drop_path_rate": 0.0, "out_indices": (0, 1)}
    return create_model(name, messengers=messengers, **{**sizes, **settings}).eval()


def same_weights(messengers, model):
    other = make(messengers)
    other.load_state_dict(model.state_dict())
    return other


def test_learned_messengers_are_the_default():
    torch.manual_seed(0)
    sizes = {**SIZES, "num_classes": 5, "drop_path_rate": 0.0, "out_indices": (0, 1)}
    model = create_model("msg_transformer_v1_tiny", **sizes).eval()
    assert type(model) is type(make("learned")) is MsgTransformer
    assert torch.equal(model(IMAGE), make("learned")(IMAGE))


@pytest.mark.parametrize("messengers", ["random_eval", "random"])
def test_random_messengers_are_used_in_evaluation_only(messengers):
    learned = make("learned")
    other = same_weights(messengers, learned)
    assert not torch.allclose(other(IMAGE), learned(IMAGE))
    assert torch.equal(other(IMAGE), same_weights(messengers, learned)(IMAGE)), "every evaluation has the same ones"
    assert torch.equal(other.train()(IMAGE), learned.train()(IMAGE))
    with torch.no_grad():
        before = other.eval()(IMAGE)
        other.msg_tokens.add_(1)
        assert torch.equal(other(IMAGE), before)
    assert other.drawn.std().item() == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize(("messengers", "trained"), [("learned", True), ("random_eval", True), ("random", False)])
def test_only_always_random_messengers_are_not_trained(messengers, trained):
    model = make(messengers).train()
    model(IMAGE).sum().backward()
    assert (model.msg_tokens.grad is not None) == trained
    assert all(p.grad is not None for name, p in model.named_parameters() if name != "msg_tokens")


@pytest.mark.parametrize("name", ["msg_transformer_v1_tiny", "msg_transformer_tiny"])
def test_no_messengers_has_no_messenger_parameters(name):
    learned, none = make("learned", name), make("none", name)
    left_out = {key for key in learned.state_dict() if key.endswith(("msg_tokens", "rel_pos_msg"))}
    assert set(none.state_dict()) == set(learned.state_dict()) - left_out
    none.train()(IMAGE).sum().backward()
    assert all(parameter.grad is not None for parameter in none.parameters())


def test_no_messengers_equals_masked_messengers():
    learned, none = make("learned", exchange="none"), make("none")
    none.load_state_dict({key: learned.state_dict()[key] for key in none.state_dict()})
    with torch.no_grad():
        for name, parameter in learned.named_parameters():
            if name.endswith("rel_pos_msg"):
                parameter[:, 0] = -1e9  # theta_2: a patch looks at its messenger
    expected = learned.forward_intermediates(IMAGE, intermediates_only=True)
    found = none.forward_intermediates(IMAGE, intermediates_only=True)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(none(IMAGE), none.head.fc(none.norm(found[-1].permute(0, 2, 3, 1)).mean(dim=(1, 2))))


@pytest.mark.parametrize(("messengers", "spreads"), [("none", False), ("learned", True)])
def test_windows_are_independent_without_messengers(messengers, spreads):
    model = make(messengers)
    changed = IMAGE.clone()
    changed[:, :, :16, :16] += 1  # the first window of 4 x 4 patches
    before, after = (model.forward_intermediates(x, indices=[0], intermediates_only=True)[0] for x in (IMAGE, changed))
    moved = (before != after).any(dim=(0, 1))
    assert moved[:4, :4].all()
    assert moved[4:].any() == moved[:4, 4:].any() == spreads


def test_interface_without_messengers():
    assert [tuple(m.shape) for m in make("none", features_only=True)(IMAGE)] == [(2, 16, 16, 12), (2, 32, 8, 6)]
    model = make("none")
    model.set_grad_checkpointing()
    model.set_input_size(window_size=2)
    assert model.train()(IMAGE).shape == (2, 5)


def test_exchange_without_messengers_is_an_error():
    with pytest.raises(ValueError, match="nothing to exchange, got exchange='shuffle'"):
        make("none", exchange="shuffle")


def test_ones_own_are_a_class(monkeypatch):
    monkeypatch.setattr(messenger_registry, "_MESSENGERS", dict(messenger_registry._MESSENGERS))

    @register_messengers("mean")
    class MeanMessengers(MsgTransformer):
        def first_messengers(self, patches):
            return to_windows(patches, self.window_size).mean(dim=1)

    model = make("mean")
    patches = model.patch_embed(IMAGE)
    messengers = model.first_messengers(patches)
    torch.testing.assert_close(messengers[1], patches[0, :4, 4:8].mean(dim=(0, 1)))
    assert model(IMAGE).shape == (2, 5)


def test_unknown_messengers_error_suggests_a_name():
    with pytest.raises(ValueError, match=r"unknown messengers 'lerned', known: .*; did you mean 'learned'"):
        make("lerned")


@pytest.mark.parametrize("recomputed", [0, 1])
@pytest.mark.parametrize("messengers", ["learned", "overlapping"])
@pytest.mark.parametrize("name", ["msg_transformer_v1_tiny", "msg_transformer_tiny"])
def test_training_skips_patch_tokens_of_the_last_block(name, messengers, recomputed):
    model = make(messengers, name).train()
    model.stages[-1].num_recomputed = recomputed
    widths = []
    model.stages[-1].blocks[-1].mlp.register_forward_pre_hook(lambda _, inputs: widths.append(inputs[0].shape[1]))
    outputs = []
    for run in (model, lambda image: model.forward_head(model.forward_features(image))):
        model.zero_grad()
        logits = run(IMAGE)
        logits.square().sum().backward()
        outputs.append([logits.detach(), *(parameter.grad for parameter in model.parameters())])
    torch.testing.assert_close(*outputs)
    assert widths[0] == 1
    assert widths[-1] == 17

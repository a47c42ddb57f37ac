"""Ablations of SG-Former's attention: each changes only what it documents."""

import pytest
import torch

from msgformer.models import create_model
from msgformer.models.ablations.sg_former import (
    GlobalAttention,
    LocalAttention,
    OneOrderAttention,
    RandomAttention,
    UniformAttention,
)
from msgformer.models.guided_attention import SelfGuidedAttention

ARGUMENTS = {"num_heads": 2, "qkv_bias": True, "attn_drop": 0.0, "proj_drop": 0.0}
OPTIONS = [
    {"attention": "local"},
    {"attention": "global"},
    {"reallocation": "one_order"},
    {"reallocation": "uniform"},
    {"reallocation": "random"},
    {"local_position": False},
]


def build(cls, **arguments):
    torch.manual_seed(0)
    return cls(16, **{**ARGUMENTS, **arguments}).eval()


def tokens(height=16, width=14):
    return torch.randn(2, height, width, 16, generator=torch.Generator().manual_seed(1))


def model(**options):
    torch.manual_seed(0)
    sizes = {"embed_dims": (16, 32), "depths": (2, 1), "num_heads": (2, 4), "reductions": (4, 1), "window_size": 4}
    return create_model("sgformer_small", img_size=32, num_classes=5, drop_path_rate=0.0, **sizes, **options).eval()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_ablation_trains_and_changes_the_output(options):
    image, changed = torch.randn(2, 3, 40, 32), model(**options)
    assert not torch.allclose(changed(image), model()(image))
    changed.train()(image).square().sum().backward()
    assert all(parameter.grad is not None for parameter in changed.parameters())


@pytest.mark.parametrize(("cls", "spreads"), [(LocalAttention, False), (GlobalAttention, True)])
def test_scales(cls, spreads):
    attention, x = build(cls, reduction=4, window=(7, 7), local_position=False), tokens()
    changed = x.clone()
    changed[:, 0, 0] += 1
    (before, map_before), (after, map_after) = attention(x), attention(changed)
    assert before.shape == x.shape
    assert map_before.shape == x.shape[:3]
    outside = torch.ones(16, 14, dtype=torch.bool)
    outside[:7, :7] = False  # the window of the token that changed
    assert (before != after).any(dim=3).any(dim=0)[outside].all() == spreads
    assert torch.equal(map_before[:, outside], map_after[:, outside]) != spreads
    assert not torch.equal(map_before, map_after)


def test_one_order_equals_two_equal_orders():
    two, one = build(SelfGuidedAttention, reduction=4), build(OneOrderAttention, reduction=4)
    missing = one.load_state_dict(two.state_dict(), strict=False)
    assert set(missing.missing_keys) == {"kv.weight", "kv.bias"}
    with torch.no_grad():
        for name in ("weight", "bias"):
            row, column = (getattr(kv, name).chunk(2) for kv in (two.kv_row, two.kv_column))
            getattr(one.kv, name).copy_(torch.cat([row[0], column[0], row[1], column[1]]))
    significance = torch.rand(2, 16, 14)
    torch.testing.assert_close(one(tokens(), significance), two(tokens(), significance))


def test_random_groups_do_not_depend_on_significance():
    attention, x = build(RandomAttention, reduction=4), tokens()
    flat, steep = torch.zeros(2, 16, 14), torch.arange(2 * 16 * 14.0).view(2, 16, 14)
    assert torch.equal(attention(x, flat), attention(x, steep))
    ranks = attention.random_map(flat).flatten(1).argsort(dim=1)
    assert torch.equal(ranks[0], ranks[1])
    steps = (ranks[0, 1:] - ranks[0, :-1]).abs().float()
    assert steps.mean() == pytest.approx(224 / 3, rel=0.2), "neighbors in rank lie anywhere"
    attention.train()
    assert not torch.allclose(attention(x, flat), attention(x, flat))


@pytest.mark.parametrize("reduction", [8, 4, 2])
@pytest.mark.parametrize("size", [(56, 56), (28, 28), (9, 5), (1, 2)])
def test_number_of_uniform_groups_equals_that_of_significance(reduction, size):
    guided, uniform = build(SelfGuidedAttention, reduction=reduction), build(UniformAttention, reduction=reduction)
    x = tokens(*size)
    order = torch.arange(size[0] * size[1]).expand(2, -1)
    assert uniform.merge_neighbors(x).shape[1] == min(guided.merge_tokens(x, order).shape[1], size[0] * size[1])
    assert uniform(x).shape == x.shape


def test_uniform_groups_are_means_of_neighbors():
    uniform, x = build(UniformAttention, reduction=2), tokens(6, 2)  # 3 groups of 2 and 6 of 1: 9 of 12 tokens
    merged = uniform.merge_neighbors(x)
    torch.testing.assert_close(merged[:, 0], x[:, 0].mean(dim=1))
    torch.testing.assert_close(merged.mean(dim=1), x.mean(dim=(1, 2)), atol=0.4, rtol=0)


def test_local_positional_term_can_be_disabled():
    with_term, without = model(), model(local_position=False)
    left_out = {name for name in with_term.state_dict() if ".lepe." in name}
    assert left_out
    assert set(without.state_dict()) == set(with_term.state_dict()) - left_out
    state = with_term.state_dict()
    with_term.load_state_dict({name: 0 * value if ".lepe.conv" in name else value for name, value in state.items()})
    without.load_state_dict({name: state[name] for name in without.state_dict()})
    image = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(without(image), with_term(image))


@pytest.mark.parametrize("option", ["attention", "reallocation"])
def test_unknown_option_error_suggests_a_name(option):
    known = {"attention": "global", "reallocation": "uniform"}[option]
    with pytest.raises(ValueError, match=f"unknown {option} '{known}s', known: .*; did you mean '{known}'"):
        model(**{option: f"{known}s"})

"""Messengers of several windows, and messengers that attend beyond their window."""

import pytest
import torch

from msgformer.models import create_model
from msgformer.models.exchange import CORNERS, create_exchange
from msgformer.models.extensions.coverage import SharedExchange
from msgformer.models.window import Grid

SIZES = {"embed_dim": 16, "depths": (2, 1), "num_heads": (2, 2), "window_size": 4, "shuffle_sizes": (4, 4)}
IMAGE = torch.randn(2, 3, 64, 80, generator=torch.Generator().manual_seed(1))


def make(messengers, **settings):
    torch.manual_seed(0)
    sizes = {**SIZES, "num_classes": 5, "drop_path_rate": 0.0}
    out = tuple(range(len(settings.get("depths", (2, 1)))))
    return create_model(
        "msg_transformer_v1_tiny", messengers=messengers, out_indices=out, **{**sizes, **settings}
    ).eval()


@pytest.mark.parametrize(("messengers", "least"), [("shared", {"coverage": 1}), ("overlapping", {"margin": 0})])
def test_smallest_coverage_and_margin_equal_ordinary_messengers(messengers, least):
    learned, other = make("learned"), make(messengers, **least)
    other.load_state_dict(learned.state_dict())
    torch.testing.assert_close(other(IMAGE), learned(IMAGE))


@pytest.mark.parametrize("settings", [{"messengers": "shared"}, {"messengers": "overlapping", "margin": 2}])
def test_larger_coverage_and_margin_change_the_output_and_train(settings):
    model = make(**settings)
    assert not torch.allclose(model(IMAGE), make("learned")(IMAGE))
    torch.testing.assert_close(model(IMAGE)[1:], model(IMAGE[1:]))
    model.train()(IMAGE).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (5, 3), (1, 7)])
def test_shared_messengers_are_means_that_are_exchanged(rows, cols, corner):
    before = torch.randn(2, rows, cols, 16)
    inner = create_exchange("shuffle", 16, 4)
    shared = SharedExchange(inner, 2)
    coarse = Grid(2, -(-rows // 2), -(-cols // 2))
    groups = [(2 * i, 2 * j) for i in range(coarse.height) for j in range(coarse.width)]
    means = torch.stack([before[:, i : i + 2, j : j + 2].mean(dim=(1, 2)) for i, j in groups], dim=1)
    exchanged = inner(means.flatten(0, 1), inner.plan(coarse, corner, before.device)).view(*coarse, 16)
    plan = shared.plan(Grid(2, rows, cols), corner, before.device)
    after = shared(before.flatten(0, 2), plan).view(before.shape)
    for i in range(rows):
        for j in range(cols):
            torch.testing.assert_close(after[:, i, j], exchanged[:, i // 2, j // 2])


def test_windows_of_a_group_start_from_the_same_messenger():
    model = make("shared", coverage=2)
    first = model.first_messengers(torch.zeros(2, 16, 20, 16)).view(2, 4, 5, 16)
    assert torch.equal(first[:, 0, :2], first[:, 1, :2])
    assert torch.equal(first[0, 2, 4], model.msg_tokens[0, 1 * 4 + 2, 0])
    assert not torch.equal(first[0, 0, 1], first[0, 0, 2])


@pytest.mark.parametrize("margin", [0, 1, 3, 5])
def test_margin_limits_the_reach_of_messengers(margin):
    model = make("overlapping", margin=margin, depths=(1,), num_heads=(2,), shuffle_sizes=(4,), exchange="none")
    patches = torch.randn(1, 12, 16, 16, requires_grad=True)  # 3 x 4 windows
    after, messengers = model.stages[0](patches, model.first_messengers(patches))
    (seen,) = torch.autograd.grad(messengers[5].sum(), patches, retain_graph=True)  # of the window at row 1, column 1
    expected = torch.zeros(12, 16, dtype=torch.bool)
    expected[max(0, 4 - margin) : 8 + margin, max(0, 4 - margin) : 8 + margin] = True
    assert torch.equal(seen[0].abs().sum(-1) > 0, expected)
    (seen,) = torch.autograd.grad(after[0, 5, 6].sum(), patches)
    expected[:] = False
    expected[4:8, 4:8] = True
    assert torch.equal(seen[0].abs().sum(-1) > 0, expected)


def test_the_window_can_be_changed():
    model = make("overlapping")
    model.set_input_size(window_size=2)
    assert model(IMAGE).shape == (2, 5)


@pytest.mark.parametrize(("settings", "message"), [({"coverage": 0}, "coverage"), ({"margin": -1}, "margin")])
def test_too_small_coverage_or_margin_is_an_error(settings, message):
    with pytest.raises(ValueError, match=f"{message} must be at least"):
        make("shared" if message == "coverage" else "overlapping", **settings)

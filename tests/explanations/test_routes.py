import pytest
import torch

from explanations.small_models import noise, small_msg
from msgformer.explanations.messengers import trace_messengers
from msgformer.explanations.routes import trace_routes
from msgformer.models.exchange import CORNERS, GridExchange, create_exchange
from msgformer.models.window import Grid


def traced(name, grid=(5, 6), dim=16, region=4, corner="left-top"):
    exchange = create_exchange(name, dim, region)
    plan = exchange.plan(Grid(1, *grid), corner, torch.device("cpu"))
    torch.manual_seed(0)
    for parameter in exchange.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # some start as the identity
    messengers = torch.randn(grid[0] * grid[1], dim)
    return exchange, plan, messengers, trace_routes(exchange, messengers, plan)


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("name", ["shuffle", "shift", "none"])
def test_routes_match_marked_messengers(name, corner):
    """A marked messenger arrives exactly at the windows that the routes name."""
    exchange, plan, messengers, routes = traced(name, corner=corner)
    for window in range(len(messengers)):
        marked = torch.zeros_like(messengers)
        marked[window] = 1
        arrived = exchange(marked, plan)
        assert torch.equal(arrived == 1, routes.sources == window)
        torch.testing.assert_close(arrived.double().mean(dim=1), routes.shares[:, window])


def test_a_shuffle_takes_one_channel_group_from_every_window_of_the_region():
    *_, routes = traced("shuffle", grid=(4, 4), dim=32)
    assert torch.equal(routes.sources[3].view(16, 2), torch.arange(16)[:, None].expand(16, 2))
    torch.testing.assert_close(routes.shares, torch.full((16, 16), 1 / 16).double())


@pytest.mark.parametrize("name", ["mean", "mlp", "attention"])
def test_shares_of_mixing_exchanges_match_the_effect_of_changes(name):
    exchange, plan, messengers, routes = traced(name)
    assert routes.sources is None
    torch.testing.assert_close(routes.shares.sum(1), torch.ones(30).double())
    before = exchange(messengers.clone(), plan)
    for window in range(30):
        changed = messengers.clone()
        changed[window] += 0.1 * torch.randn(16)
        moved = (exchange(changed, plan) != before).any(dim=1)
        assert torch.equal(moved, routes.shares[:, window] > 0)


def test_an_exchange_that_computes_is_not_classified_as_moving():
    class Doubling(GridExchange):
        def exchange(self, messengers):
            return 2 * messengers

    exchange = Doubling(8, 2)
    routes = trace_routes(exchange, torch.randn(6, 8), exchange.plan(Grid(1, 2, 3), "left-top", torch.device("cpu")))
    assert routes.sources is None
    assert torch.equal(routes.shares, torch.eye(6).double())


def test_every_exchange_is_traced_inside_a_model():
    for name in ("mean", "mlp", "attention", "shift"):
        blocks = trace_messengers(small_msg(exchange=name), noise(64, 48), gradients=2)
        for block in blocks:
            for window, gradient in block.gradients.items():
                rows, cols = (torch.arange(length) // 4 for length in gradient.shape)
                reached = block.reach[window].view(blocks[0].grid)[rows][:, cols]  # by token of the stem
                assert (gradient[~reached] == 0).all()

"""Exchange operators beyond the paper, compared with simple loops, and properties of every exchange."""

import pytest
import torch

from models.test_exchange import CPU, regions_by_hand
from msgformer.models import create_model, exchange
from msgformer.models.exchange import CORNERS, create_exchange
from msgformer.models.window import Grid

NAMES = sorted(exchange._EXCHANGES)
LOCAL = ["mean", "mlp", "none", "shuffle"]
GRIDS = [(1, 1), (4, 4), (5, 7), (8, 3), (9, 6)]


def talk(module, messengers, corner="left-top"):
    """Messengers [B, nH, nW, C] after an exchange."""
    batch, rows, cols, _ = messengers.shape
    plan = module.plan(Grid(batch, rows, cols), corner, CPU)
    return module(messengers.flatten(0, 2), plan).view(messengers.shape)


def make(name, dim=32, region=4):
    torch.manual_seed(0)
    module = create_exchange(name, dim, region).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


def messengers(rows, cols, batch=2, dim=32):
    torch.manual_seed(1)
    return torch.randn(batch, rows, cols, dim, dtype=torch.float64)


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize(("rows", "cols"), GRIDS)
def test_mean(rows, cols, corner):
    before = messengers(rows, cols)
    expected = before.clone()
    _, regions = regions_by_hand(rows, cols, 4, corner)
    for region in regions:
        row, col = zip(*region, strict=True)
        expected[:, row, col] += before[:, row, col].mean(dim=1, keepdim=True)
    torch.testing.assert_close(talk(make("mean"), before, corner), expected)


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize(("rows", "cols"), GRIDS)
def test_mlp(rows, cols, corner):
    before, module = messengers(rows, cols), make("mlp")
    expected = before.clone()
    side, regions = regions_by_hand(rows, cols, 4, corner)
    places = torch.tensor([row * 4 + col for row in range(side) for col in range(side)])
    first, second = (weight[places][:, places] for weight in (module.weight1, module.weight2))
    for region in regions:
        row, col = zip(*region, strict=True)
        hidden = torch.nn.functional.gelu(torch.einsum("ij,bjc->bic", first, before[:, row, col]))
        expected[:, row, col] += torch.einsum("ij,bjc->bic", second, hidden)
    torch.testing.assert_close(talk(module, before, corner), expected)


def test_shift():
    before = messengers(3, 4)
    after = talk(make("shift"), before)
    for row in range(3):
        for col in range(4):
            parts = [(max(row - 1, 0), col), (min(row + 1, 2), col), (row, max(col - 1, 0)), (row, min(col + 1, 3))]
            expected = [before[:, r, c, 4 * k : 4 * k + 4] for k, (r, c) in enumerate(parts)]
            assert torch.equal(after[:, row, col], torch.cat([*expected, before[:, row, col, 16:]], dim=1))


def test_attention_reaches_everywhere():
    before = messengers(5, 7, batch=1).requires_grad_()
    (gradient,) = torch.autograd.grad(talk(make("attention"), before)[0, 0, 0].sum(), before)
    assert (gradient.abs().sum(dim=-1) > 0).all()


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("name", LOCAL)
def test_information_moves_only_inside_a_region(name, corner):
    rows, cols = 9, 6
    before = messengers(rows, cols, batch=1).requires_grad_()
    after = talk(make(name), before, corner)
    _, regions = regions_by_hand(rows, cols, 4, corner)
    for row in range(rows):
        for col in range(cols):
            (gradient,) = torch.autograd.grad(after[0, row, col].sum(), before, retain_graph=True)
            seen = {tuple(place) for place in gradient[0].abs().sum(dim=-1).nonzero().tolist()}
            mine = next((set(region) for region in regions if (row, col) in region), {(row, col)})
            assert (row, col) in seen
            assert seen <= mine
            assert name == "none" or seen == mine


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("name", ["none", "shuffle"])
def test_permutations_can_be_undone(name, corner):
    before = messengers(9, 6)
    after = talk(make(name), before, corner)
    assert torch.equal(after.flatten().sort().values, before.flatten().sort().values)
    assert torch.equal(talk(make(name), after, corner), before)  # a transposition is its own inverse


@pytest.mark.parametrize("name", NAMES)
def test_outputs_do_not_depend_on_the_batch(name):
    before, module = messengers(5, 7, batch=3), make(name)
    together = talk(module, before)
    for image in range(3):
        torch.testing.assert_close(talk(module, before[image : image + 1])[0], together[image])


def test_learned_mixing_starts_as_the_identity():
    before = messengers(5, 7).float()
    assert torch.equal(talk(create_exchange("mlp", 32, 4), before), before)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "shuffle" else pytest.mark.slow) for name in NAMES]
)
def test_model_with_exchange_trains_and_needs_one_graph(name):
    torch.manual_seed(0)
    tiny = {"embed_dim": 32, "depths": (1, 2), "num_heads": (1, 2), "shuffle_sizes": (4, 4), "window_size": 4}
    model = create_model("msg_transformer_tiny", num_classes=3, exchange=name, **tiny)
    model(torch.randn(2, 3, 100, 70)).square().sum().backward()
    learned = [parameter for key, parameter in model.named_parameters() if "exchange" in key]
    assert all(parameter.grad is not None for parameter in learned)
    assert bool(learned) == (name in ("attention", "mlp"))
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(model.eval(), backend=backend, fullgraph=True, dynamic=True)
    with torch.no_grad():
        for size in ((96, 64), (70, 101), (160, 130)):
            x = torch.randn(2, 3, *size)
            torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)
    assert len(graphs) == 1


@pytest.mark.parametrize(("name", "dim"), [("shift", 12), ("attention", 65)])
def test_indivisible_channels_are_an_error(name, dim):
    with pytest.raises(ValueError, match=f"channels divisible by .*, got {dim}"):
        create_exchange(name, dim, 2)

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from msgformer.models import create_model
from msgformer.profiling import roofline as floor
from msgformer.profiling.roofline import ATTENTION, Shape, floor_seconds, record, ways

aten = torch.ops.aten
TINY = {"depths": (1, 1), "img_size": 32}
FAMILIES = {
    "msg_transformer_tiny": {**TINY, "embed_dim": 16, "num_heads": (1, 2), "window_size": 2, "shuffle_sizes": (2, 2)},
    "sgformer_small": {**TINY, "embed_dims": (16, 32), "num_heads": (2, 2), "reductions": (2, 1)},
}


class Attention(nn.Module):
    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x)


def counted_flops(operations):
    """By torch's own formulas for the recorded operators and shapes."""
    total = 0
    for (func, args, named), count in operations.items():
        tensors = [torch.empty(one, device="meta") if isinstance(one, Shape) else one for one in args]
        out = None
        if func is aten.convolution.default:
            out = func(*[list(one) if type(one) is tuple else one for one in tensors])
        total += count * flop_registry[func.overloadpacket](*tensors, **dict(named), out_val=out)
    return total


def test_a_small_model_has_the_operations_that_a_hand_counts():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(2), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 16)
    )
    found = record(model, torch.randn(2, 3, 4, 4))
    shapes = {str(func): [one for one in args if isinstance(one, Shape)] for func, args, _ in found}
    assert shapes == {
        "aten.convolution.default": [(2, 3, 4, 4), (8, 3, 3, 3), (8,)],
        "aten.addmm.default": [(16,), (16, 16), (16, 16)],  # 2 x 8 rows
    }
    assert sorted(found.values()) == [1, 2]
    assert counted_flops(found) == 2 * (2 * 8 * 16 * 3 * 9) + 2 * (2 * 16 * 16 * 16)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_recorded_products_are_all_that_torch_counts(name):
    model = create_model(name, num_classes=3, **FAMILIES[name]).eval()
    images = torch.randn(2, 3, 32, 32)
    found = record(model, images)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    assert counted_flops(found) == counter.get_total_flops() > 0
    assert any(func in ATTENTION or func is aten.bmm.default for func, _, _ in found)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Linear(6, 4), (5, 6)),
        (nn.Linear(6, 4, bias=False), (5, 6)),
        (nn.Linear(32, 48), (5, 32)),
        (nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2), (2, 4, 9, 9)),
        (nn.ConvTranspose2d(4, 4, 2, stride=2), (2, 4, 5, 5)),
        (nn.Conv1d(4, 4, 3), (2, 4, 9)),
        (Attention(), (2, 3, 5, 8)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_every_way_computes_the_operation(model, shape):
    images = torch.randn(shape)
    (operation,) = record(model, images)
    expected = model(images).shape
    outcomes = [way() for way in ways(operation, images)]
    for outcome in outcomes:
        last = outcome[-1] if isinstance(outcome, tuple) and outcome[0].shape != expected else outcome
        assert (last[0] if isinstance(last, tuple) else last).shape == expected
    assert len(outcomes) > 1 or isinstance(model, nn.Conv1d)


def test_the_floor_is_the_least_time_of_each_shape_as_often_as_it_occurs(monkeypatch):
    images = torch.randn(3, 4)
    operations = record(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)), images)
    first, second = (sum(1 for _ in ways(operation, images)) for operation in operations)
    times = iter([9.0] * (first - 1) + [2.0] + [3.0] + [9.0] * (second - 1))

    def next_time(way, like):
        return next(times)

    monkeypatch.setattr(floor, "_least_seconds", next_time)
    assert floor_seconds(operations, images) == 2 * 2.0 + 3.0


def test_times_are_taken_for_real():
    images = torch.randn(3, 4)
    assert floor_seconds(record(nn.Linear(4, 4), images), images) > 0


def test_a_way_that_a_build_does_not_know_is_left_out(monkeypatch):
    def times(way, like):
        if next(calls):
            raise NotImplementedError
        return 5.0

    calls = iter([0, 1])
    monkeypatch.setattr(floor, "_least_seconds", times)
    images = torch.randn(3, 4)
    assert floor_seconds(record(nn.Linear(4, 4), images), images) == 5.0


def test_the_scores_of_a_large_attention_are_not_kept(monkeypatch):
    x = torch.randn(1, 2, 5, 4)
    (operation,) = record(Attention(), x)
    before = len(list(ways(operation, x)))
    monkeypatch.setattr(floor, "MAX_SCORES_PER_CHUNK", 2 * 5 * 5 - 1)
    assert len(list(ways(operation, x))) == before - 1


def test_what_takes_long_is_run_once(monkeypatch):
    runs = []
    monkeypatch.setattr(floor.time, "perf_counter", iter(range(100)).__next__)  # a second for each
    assert floor._least_seconds(lambda: runs.append(1), torch.zeros(1)) == 1.0
    assert len(runs) == 1
    monkeypatch.setattr(floor, "LONG_SECONDS", 2.0)
    assert floor._least_seconds(lambda: runs.append(1), torch.zeros(1)) == 1.0
    assert len(runs) == 1 + 1 + floor.LEAST_REPEATS

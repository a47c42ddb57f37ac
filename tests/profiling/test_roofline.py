import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from msgformer.models import create_model
from msgformer.profiling import roofline
from msgformer.profiling.roofline import ATTENTION, Shape, implementations, measure_roofline, record_operations

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
    """Count FLOPs of recorded operations with the formulas of torch."""
    total = 0
    for (func, args, named), count in operations.items():
        tensors = [torch.empty(one, device="meta") if isinstance(one, Shape) else one for one in args]
        out = None
        if func is aten.convolution.default:
            out = func(*[list(one) if type(one) is tuple else one for one in tensors])
        total += count * flop_registry[func.overloadpacket](*tensors, **dict(named), out_val=out)
    return total


def test_operations_of_a_small_model_are_recorded():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(2), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 16)
    )
    found = record_operations(model, torch.randn(2, 3, 4, 4))
    shapes = {str(func): [one for one in args if isinstance(one, Shape)] for func, args, _ in found}
    assert shapes == {
        "aten.convolution.default": [(2, 3, 4, 4), (8, 3, 3, 3), (8,)],
        "aten.addmm.default": [(16,), (16, 16), (16, 16)],  # 2 x 8 rows
    }
    assert sorted(found.values()) == [1, 2]
    assert counted_flops(found) == 2 * (2 * 8 * 16 * 3 * 9) + 2 * (2 * 16 * 16 * 16)


@pytest.mark.parametrize("name", FAMILIES)
def test_recorded_operations_match_the_flops_of_torch(name):
    model = create_model(name, num_classes=3, **FAMILIES[name]).eval()
    images = torch.randn(2, 3, 32, 32)
    found = record_operations(model, images)
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
def test_every_implementation_computes_the_operation(model, shape):
    images = torch.randn(shape)
    (operation,) = record_operations(model, images)
    expected = model(images).shape
    outcomes = [run() for run in implementations(operation, images)]
    for outcome in outcomes:
        last = outcome[-1] if isinstance(outcome, tuple) and outcome[0].shape != expected else outcome
        assert (last[0] if isinstance(last, tuple) else last).shape == expected
    assert len(outcomes) > 1 or isinstance(model, nn.Conv1d)


def test_the_roofline_is_the_sum_of_the_minimum_times_of_all_calls(monkeypatch):
    images = torch.randn(3, 4)
    operations = record_operations(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)), images)
    first, second = (sum(1 for _ in implementations(operation, images)) for operation in operations)
    times = iter([9.0] * (first - 1) + [2.0] + [3.0] + [9.0] * (second - 1))

    def next_time(implementation, like):
        return next(times)

    monkeypatch.setattr(roofline, "_min_seconds", next_time)
    assert measure_roofline(operations, images) == 2 * 2.0 + 3.0


def test_the_roofline_is_measured():
    images = torch.randn(3, 4)
    assert measure_roofline(record_operations(nn.Linear(4, 4), images), images) > 0


def test_an_unsupported_implementation_is_ignored(monkeypatch):
    def times(implementation, like):
        if next(calls):
            raise NotImplementedError
        return 5.0

    calls = iter([0, 1])
    monkeypatch.setattr(roofline, "_min_seconds", times)
    images = torch.randn(3, 4)
    assert measure_roofline(record_operations(nn.Linear(4, 4), images), images) == 5.0


def test_a_large_attention_is_not_computed_as_two_products(monkeypatch):
    x = torch.randn(1, 2, 5, 4)
    (operation,) = record_operations(Attention(), x)
    before = len(list(implementations(operation, x)))
    monkeypatch.setattr(roofline, "MAX_SCORES", 2 * 5 * 5 - 1)
    assert len(list(implementations(operation, x))) == before - 1


def test_slow_implementations_run_once(monkeypatch):
    runs = []
    monkeypatch.setattr(roofline.time, "perf_counter", iter(range(100)).__next__)  # one second per run
    assert roofline._min_seconds(lambda: runs.append(1), torch.zeros(1)) == 1.0
    assert len(runs) == 1
    monkeypatch.setattr(roofline, "LONG_SECONDS", 2.0)
    assert roofline._min_seconds(lambda: runs.append(1), torch.zeros(1)) == 1.0
    assert len(runs) == 1 + 1 + roofline.MIN_REPEATS

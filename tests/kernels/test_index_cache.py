"""Indices are cached per size, except in recorded calls and for large sizes."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from msgformer.kernels.index_cache import CACHE_SIZE, MAX_ENTRIES, cache_by_shape
from msgformer.models import create_model


@pytest.fixture
def made():
    return []


@pytest.fixture
def places(made):
    @cache_by_shape
    def make(count, device):
        made.append(count)
        return torch.arange(count, device=device), None

    return lambda count: make(count, torch.device("cpu"))


def test_the_same_sizes_give_the_same_tensor(places, made):
    assert places(5)[0] is places(5)[0]
    assert places(6)[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert made == [5, 6]


def test_named_arguments_are_part_of_the_key():
    @cache_by_shape
    def make(count, first=0):
        return torch.arange(first, first + count)

    assert [make(2).tolist(), make(2, first=3).tolist(), make(2, first=5).tolist()] == [[0, 1], [3, 4], [5, 6]]


def test_most_recent_sizes_are_cached(places, made):
    for count in range(1, CACHE_SIZE + 2):
        places(count)
    made.clear()
    places(CACHE_SIZE + 1)
    assert made == []
    places(1)
    assert made == [1]


def test_large_results_are_not_cached(places, made):
    for _ in range(2):
        places(MAX_ENTRIES)
        places(MAX_ENTRIES + 1)
    assert made == [MAX_ENTRIES, MAX_ENTRIES + 1, MAX_ENTRIES + 1]


def test_recorded_calls_are_not_cached(places, made):
    with FlopCounterMode(display=False):
        places(5)
    torch.jit.trace(lambda x: x + places(3)[0], torch.zeros(3), check_trace=False)
    assert made == [5, 3]
    places(3)
    assert made == [5, 3, 3]


def test_results_of_inference_mode_support_gradients(places):
    with torch.inference_mode():
        places(2)
    x = torch.ones(2, requires_grad=True)
    x.index_select(0, places(2)[0]).sum().backward()
    assert x.grad.tolist() == [1, 1]


@pytest.mark.parametrize("name", ["msg_transformer_tiny", "msg_transformer_v1_tiny", "sgformer_small"])
def test_cached_model_outputs_are_equal_between_sizes(name):
    small = {"depths": (1, 1, 1, 1), "num_classes": 3}
    model = create_model(name, **small).eval()
    inputs = [torch.randn(2, 3, *size) for size in [(64, 64), (70, 45), (64, 64)]]
    inputs[2] = inputs[0]
    with torch.inference_mode():
        first, _, again = (model(x) for x in inputs)
    assert torch.equal(first, again)
    model(inputs[1]).sum().backward()  # by what was kept in inference
    assert all(torch.isfinite(one.grad).all() for one in model.parameters() if one.grad is not None)

"""Indices are made once for a size, and never where the making is recorded or the keeping would hurt."""

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


def test_the_sizes_seen_last_are_kept(places, made):
    for count in range(1, CACHE_SIZE + 2):
        places(count)
    made.clear()
    places(CACHE_SIZE + 1)
    assert made == []
    places(1)
    assert made == [1]


def test_large_ones_are_made_anew(places, made):
    for _ in range(2):
        places(MAX_ENTRIES)
        places(MAX_ENTRIES + 1)
    assert made == [MAX_ENTRIES, MAX_ENTRIES + 1, MAX_ENTRIES + 1]


def test_what_is_recorded_is_made_where_it_is_recorded(places, made):
    with FlopCounterMode(display=False):
        places(5)
    torch.jit.trace(lambda x: x + places(3)[0], torch.zeros(3), check_trace=False)
    assert made == [5, 3]
    places(3)
    assert made == [5, 3, 3]


def test_what_inference_made_serves_gradients(places):
    with torch.inference_mode():
        places(2)
    x = torch.ones(2, requires_grad=True)
    x.index_select(0, places(2)[0]).sum().backward()
    assert x.grad.tolist() == [1, 1]


@pytest.mark.parametrize("name", ["msg_transformer_tiny", "msg_transformer_v1_tiny", "sgformer_small"])
def test_a_model_answers_the_same_again_and_at_other_sizes_between(name):
    small = {"depths": (1, 1, 1, 1), "num_classes": 3}
    model = create_model(name, **small).eval()
    pictures = [torch.randn(2, 3, *size) for size in [(64, 64), (70, 45), (64, 64)]]
    pictures[2] = pictures[0]
    with torch.inference_mode():
        first, _, again = (model(x) for x in pictures)
    assert torch.equal(first, again)
    model(pictures[1]).sum().backward()  # by what was kept in inference
    assert all(torch.isfinite(one.grad).all() for one in model.parameters() if one.grad is not None)

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from msgformer.checkpoints.export_card import MAX_BATCH, MAX_SIDE, Sizes
from msgformer.errors import UserError
from msgformer.exporters.program import capture, coarsest_stride, example_input, export_sizes


class Branching(nn.Module):
    """Can't be captured, because it branches on values."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


def model_of_stride(stride):
    model = nn.Conv2d(3, 4, 1)
    model.feature_info = [{"reduction": 4}, {"reduction": stride}]
    return model


def test_coarsest_stride_is_declared_or_32():
    assert coarsest_stride(model_of_stride(16)) == 16
    assert coarsest_stride(nn.Identity()) == 32
    model = nn.Identity()
    model.rpn = SimpleNamespace(anchor_generator=SimpleNamespace(strides=(4, 64)))
    assert coarsest_stride(model) == 64


def test_sizes_are_fixed_or_between_bounds():
    model = model_of_stride(16)
    assert export_sizes(model, (24, 32), 2, dynamic_batch=False, dynamic_size=False) == Sizes(
        (2, 2), (24, 24), (32, 32)
    )
    assert export_sizes(model, (24, 32), 2, dynamic_batch=True, dynamic_size=True) == Sizes(
        (1, MAX_BATCH), (17, MAX_SIDE), (17, MAX_SIDE)
    )


def test_example_has_the_fixed_size_or_an_unusual_one():
    model = model_of_stride(16)
    fixed = Sizes((3, 3), (24, 24), (32, 32))
    assert example_input(model, fixed, 1).shape == (3, 1, 24, 32)
    assert torch.equal(example_input(model, fixed, 1), example_input(model, fixed, 1))
    dynamic = export_sizes(model, (24, 32), 1, dynamic_batch=True, dynamic_size=True)
    batch, _, height, width = example_input(model, dynamic, 3).shape
    assert batch > 1
    assert height != width
    assert height % 16
    assert width % 16


@pytest.mark.parametrize(
    ("dynamic", "remedy"), [(True, "leave out --dynamic_size"), (False, "torch.export doesn't support the model")]
)
def test_models_without_a_graph_are_refused(dynamic, remedy):
    sizes = export_sizes(Branching(), (8, 8), 1, dynamic_batch=dynamic, dynamic_size=False)
    with pytest.raises(UserError, match=f"^Branching can't be exported as a graph .*; {remedy}"):
        capture(Branching(), sizes)

"""Linear layers with weights packed for the C++ kernels."""

import shutil

import pytest
import torch
from torch import nn

from msgformer.optimized.packed import PackedLinear, is_supported

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")


def test_kernels_are_used_without_gradients_only():
    layer = PackedLinear(torch.randn(32, 16), None)
    x = torch.randn(3, 16)
    assert layer.panels_for(x) is not None
    assert layer.panels_for(x.requires_grad_()) is None
    layer(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert nn.Module.state_dict(layer).keys() == {"weight"}


def test_kernels_support_neither_autocast_nor_empty_inputs():
    x, weight = torch.randn(3, 16), torch.randn(32, 16)
    with torch.no_grad():
        PackedLinear(weight, None).panels_for(x)  # builds the kernels
        assert is_supported(x, weight)
        assert not is_supported(x[:0], weight)
        with torch.autocast("cpu", torch.bfloat16):
            assert not is_supported(x, weight)

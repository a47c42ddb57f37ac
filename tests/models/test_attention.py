"""Attention with a bias: all implementations give equal results."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from msgformer.models.attention import biased_attention


@pytest.fixture
def heads() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 4, 2, 10, 8, dtype=torch.float64, requires_grad=True).unbind(0)
    return query, key, value, torch.randn(1, 2, 10, 10, dtype=torch.float64)


def test_learned_and_fixed_bias_give_equal_attention(heads: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    *tokens, fixed = heads
    bias = fixed.clone().requires_grad_()
    expected = F.scaled_dot_product_attention(*tokens, bias)
    found = biased_attention(*tokens, bias)
    assert_close(found, expected)
    assert_close(biased_attention(*tokens, fixed), expected)
    weights, wanted = torch.randn_like(found), (*tokens, bias)
    gradients = [torch.autograd.grad((out * weights).sum(), wanted) for out in (found, expected)]
    assert_close(*gradients)


def test_dropout_drops_weights_and_keeps_their_mean(heads: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    query, key, _, bias = heads
    weights = biased_attention(query, key, torch.eye(10, dtype=torch.float64).expand(4, 2, 10, 10), bias)
    dropped = biased_attention(query, key, torch.eye(10, dtype=torch.float64).expand(4, 2, 10, 10), bias, 0.25)
    kept = dropped != 0
    assert_close(dropped[kept], weights[kept] / 0.75)
    assert 0.1 < 1 - kept.double().mean() < 0.4

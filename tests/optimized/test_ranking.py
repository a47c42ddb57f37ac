"""Ranking and merging by C++ kernels give the results of PyTorch's operators."""

import shutil

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from msgformer.model_parts import MERGE_KINDS
from msgformer.models.reallocation import rank_by_column, rank_by_row
from msgformer.optimized.ranking import merge_both_orders, native_merge, native_rank

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def test_ranks_equal_pytorch_with_ties_and_special_values():
    significance = torch.randint(-3, 3, (3, 6, 5)) / 4.0
    significance[0, 2, 3] = float("nan")
    significance[0, 4, 1] = -float("nan")
    significance[1, :2] = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), 1e-42])
    expected = torch.cat([rank_by_row(significance), rank_by_column(significance)])
    assert torch.equal(native_rank(significance), expected)


@pytest.mark.parametrize("size", [(2, 14, 14), (1, 1, 1), (1, 3, 3), (3, 20, 17)])
@pytest.mark.parametrize("reduction", MERGE_KINDS)
def test_merged_tokens_equal_the_definition(size, reduction, processor):
    check_merging(torch.rand(size), MERGE_KINDS[reduction])


def test_tokens_of_equal_significance_are_merged_in_both_orders():
    check_merging(torch.randint(3, (2, 6, 5)) / 4, MERGE_KINDS[2])


def check_merging(significance, kinds):
    x = torch.randn(*significance.shape, 32)
    merges = [nn.Linear(kind.group, 1) for kind in kinds]
    with FlopCounterMode(display=False):  # where PyTorch's operators are asked for
        expected = merge_both_orders(x, significance, kinds, merges)
    out = merge_both_orders(x, significance, kinds, merges)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=2e-6)


def test_operators_pass_opcheck():
    significance, x = torch.rand(2, 4, 4), torch.randn(2, 4, 4, 16)
    torch.library.opcheck(torch.ops.msgformer.native_rank.default, (significance,))
    given = x, native_rank(significance), torch.randn(5), torch.randn(2), [3, 2], [8, 16]
    torch.library.opcheck(torch.ops.msgformer.native_merge.default, given)
    assert native_merge(*given).shape == (4, 7, 16)

"""Ranking and merging of SG-Former's tokens, compared with simple loops."""

import math

import pytest
import torch
from torch import nn

from msgformer.model_parts import MERGE_KINDS
from msgformer.models.guided_attention import SelfGuidedAttention
from msgformer.models.reallocation import join_rows, merge_groups, rank_by_column, rank_by_row

SIZES = [(1, 1), (1, 2), (1, 3), (2, 2), (3, 5), (7, 7), (8, 8), (13, 9), (14, 14), (28, 28), (25, 33)]


def self_guided(reduction, dim=4):
    """Its merges sum the tokens of a group."""
    attention = SelfGuidedAttention(dim, 2, reduction, qkv_bias=True, attn_drop=0.0, proj_drop=0.0)
    for merge in attention.merge:
        nn.init.ones_(merge.weight)
        nn.init.zeros_(merge.bias)
    return attention


def one_hot(height, width, batch=2):
    """Every token has a channel of its own."""
    tokens = torch.eye(height * width).view(height, width, -1)
    return tokens.expand(batch, -1, -1, -1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("reduction", MERGE_KINDS)
@torch.no_grad()
def test_every_token_is_in_exactly_one_group(size, reduction):
    total = size[0] * size[1]
    order = torch.rand(2, total).argsort(dim=1)
    merged = self_guided(reduction).merge_tokens(one_hot(*size), order)  # [B, m, n]
    assert torch.equal(merged.sum(dim=1), torch.ones(2, total))
    assert set(merged.unique().tolist()) <= {0.0, 1.0}

    end, groups = 0, []
    for kind, quarters in zip(MERGE_KINDS[reduction], running_sum(reduction), strict=True):
        start, end = end, total * quarters // 4
        tokens = order[:, start:end].tolist()
        count = max(1, math.ceil((end - start) / kind.group))
        groups += [[set(row[i * kind.group : (i + 1) * kind.group]) for row in tokens] for i in range(count)]
    assert end == total
    assert merged.shape[1] == len(groups)
    for index, per_image in enumerate(groups):
        for image, members in enumerate(per_image):
            assert set(merged[image, index].nonzero().flatten().tolist()) == members


def running_sum(reduction):
    quarters = 0
    for kind in MERGE_KINDS[reduction]:
        quarters += kind.quarters
        yield quarters


def test_number_of_merged_tokens_at_224_equals_the_paper():
    counts = {8: ((56, 56), 60), 4: ((28, 28), 60), 2: ((14, 14), 147)}
    for reduction, (size, count) in counts.items():
        order = torch.arange(size[0] * size[1]).unsqueeze(0)
        assert self_guided(reduction).merge_tokens(torch.zeros(1, *size, 4), order).shape == (1, count, 4)


@torch.no_grad()
def test_an_incomplete_group_is_completed_by_zeros():
    merge = nn.Linear(4, 1)
    tokens, order = torch.randn(2, 10, 3), torch.stack([torch.randperm(10), torch.randperm(10)])
    ranked = torch.stack([image[index] for image, index in zip(tokens, order, strict=True)])[:, 2:9]  # 7 tokens
    padded = torch.cat([ranked, torch.zeros(2, 1, 3)], dim=1).unflatten(1, (2, 4))  # two groups of 4
    wanted = merge(padded.transpose(2, 3)).squeeze(3)
    rows = order + torch.tensor([[0], [10]])
    merged = merge_groups(tokens.flatten(0, 1), rows, 2, 9, merge).unflatten(0, (2, -1))
    torch.testing.assert_close(merged, wanted)


@torch.no_grad()
def test_empty_range_gives_one_group_of_zeros():
    merge = nn.Linear(5, 1)
    merged = merge_groups(torch.randn(3, 2), torch.tensor([[2, 0, 1]]), 1, 1, merge)
    torch.testing.assert_close(merged, merge.bias.expand(1, 2))


@pytest.mark.parametrize("size", [(1, 4), (4, 1), (3, 5), (6, 4)])
def test_ranks_are_by_significance_with_ties_by_row_or_column(size):
    significance = torch.randint(0, 3, (2, *size)) / 2  # many are equal
    by_row, by_column = rank_by_row(significance), rank_by_column(significance)
    for image, values in enumerate(significance.tolist()):
        places = [(row, col) for row in range(size[0]) for col in range(size[1])]
        row_first = sorted(places, key=lambda p, v=values: (v[p[0]][p[1]], p[0], p[1]))
        column_first = sorted(places, key=lambda p, v=values: (v[p[0]][p[1]], p[1], p[0]))
        assert by_row[image].tolist() == [row * size[1] + col for row, col in row_first]
        assert by_column[image].tolist() == [row * size[1] + col for row, col in column_first]


def test_parts_are_joined_per_image():
    parts = [torch.randn(2, 3, 4), torch.randn(2, 1, 4)]
    assert torch.equal(join_rows([part.flatten(0, 1) for part in parts], 2), torch.cat(parts, dim=1))

import pytest
import torch

from explanations.small_models import noise, small_sg
from msgformer.explanations.significance import token_groups, trace_significance
from msgformer.models.sg_former import SelfGuidedAttention


def record(model):
    """Return the input of every self-guided attention, by stage and block number."""
    given = {}
    for stage, stage_module in enumerate(model.stages, 1):
        for number, block in enumerate(stage_module.blocks, 1):
            if isinstance(block.attn, SelfGuidedAttention):

                def note(attn, inputs, where=(stage, number)):
                    given[where] = (attn, *inputs)

                block.attn.register_forward_pre_hook(note)
    return given


@pytest.mark.parametrize(("height", "width"), [(224, 224), (70, 133), (20, 20)])
def test_merging_by_the_traced_groups_gives_the_tokens_of_the_model(height, width):
    model = small_sg()
    given = record(model)
    traced = trace_significance(model, noise(height, width))
    assert [(block.stage, block.block) for block in traced] == [(1, 1), (2, 1), (2, 3), (3, 1), (3, 3)]
    assert [block.groups is None for block in traced] == [False, False, True, False, False]
    for block in traced:
        if block.groups is None:
            continue
        attn, x, significance = given[block.stage, block.groups.block]
        assert torch.equal(block.significance, significance[0])
        for order in (block.groups.by_row, block.groups.by_column):
            expected = attn.merge_tokens(x, order.unsqueeze(0))[0]
            merged = torch.stack(list(merge(block.groups, order, attn, x)))
            torch.testing.assert_close(merged, expected, atol=1e-6, rtol=0)


def merge(groups, order, attn, x):
    """Merge the tokens of each group as a weighted sum."""
    rows = x.flatten(0, 2)
    for group, kind in enumerate(groups.kind_of_group):
        members = order[groups.group_of_rank == group]
        layer = attn.merge[kind]
        weights = layer.weight[0, : len(members)]
        yield (rows[members] * weights[:, None]).sum(0) + layer.bias


def test_every_token_is_in_one_group_and_groups_are_sorted_by_significance():
    for block in trace_significance(small_sg(), noise(100, 60)):
        if block.groups is None:
            continue
        map_ = block.groups.map(block.groups.by_row, tuple(block.significance.shape))
        counts = torch.bincount(map_.flatten(), minlength=len(block.groups.kind_of_group))
        assert counts.sum() == block.significance.numel()
        assert all(
            count <= block.groups.kinds[kind].group
            for count, kind in zip(counts.tolist(), block.groups.kind_of_group, strict=True)
        )
        present = counts.nonzero().flatten()
        highest = torch.stack([block.significance[map_ == group].max() for group in present])
        lowest = torch.stack([block.significance[map_ == group].min() for group in present])
        assert (highest[:-1] <= lowest[1:]).all()


def test_ties_are_in_row_major_and_in_column_major_order():
    attention = next(a for a in small_sg().modules() if isinstance(a, SelfGuidedAttention))
    groups = token_groups(attention, torch.zeros(1, 2, 3))
    assert groups.by_row.tolist() == [0, 1, 2, 3, 4, 5]
    assert groups.by_column.tolist() == [0, 3, 1, 4, 2, 5]


def test_tracing_does_not_change_the_model():
    model = small_sg().train()
    trace_significance(model, noise(64, 64))
    assert model.training
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("reallocation", ["one_order", "uniform", "random"])
def test_other_reallocations_have_no_groups(reallocation):
    traced = trace_significance(small_sg(reallocation=reallocation), noise(64, 64))
    assert [(block.stage, block.block) for block in traced] == [(1, 1), (2, 1), (2, 3), (3, 1), (3, 3)]
    assert all(block.groups is None for block in traced)

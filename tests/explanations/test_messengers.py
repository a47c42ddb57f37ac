import pytest
import torch

from explanations.small_models import noise, small_msg
from msgformer.explanations.messengers import attention_weights, choose_windows, trace_messengers
from msgformer.models.window import window_grid


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 93)])
def test_attention_weights_are_those_of_the_model(height, width):
    """The recomputed weights give the output of the attention; the first row is the messenger's."""
    model, seen = small_msg(), []
    for stage in model.stages:
        for block in stage.blocks:
            block.attn.register_forward_hook(lambda attn, inputs, output: seen.append((attn, inputs[0], output)))
    traced = trace_messengers(model, noise(height, width))
    assert len(traced) == len(seen) == 6
    for block, (attn, x, output) in zip(traced, seen, strict=True):
        weights = attention_weights(attn, x)
        value = attn.qkv(x).unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)[2]
        again = attn.proj((weights @ value).transpose(1, 2).flatten(2))
        torch.testing.assert_close(again, output, atol=1e-6, rtol=0)
        torch.testing.assert_close(block.attention, weights[:, :, 0].transpose(0, 1), atol=1e-6, rtol=0)
        torch.testing.assert_close(block.attention.sum(-1), torch.ones(block.attention.shape[:2]))


def test_geometry_covers_the_image_of_any_size():
    traced = trace_messengers(small_msg(), noise(50, 93))
    tokens = {1: (13, 24), 2: (7, 12), 3: (4, 6)}
    for block in traced:
        assert block.grid == window_grid(tokens[block.stage], (4, 4))
        assert block.stride == 4 * 2 ** (block.stage - 1)
        assert block.attention.shape[1:] == (block.grid[0] * block.grid[1], 17)
    assert [(block.stage, block.block) for block in traced] == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]


@pytest.mark.parametrize("variant", ["overlapping", "first version"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 93)])
def test_gradients_are_zero_outside_the_receptive_field_by_routes(height, width, variant):
    traced = trace_messengers(small_msg(overlapping=variant == "overlapping"), noise(height, width), gradients=100)
    side = traced[0].window[0]
    for block in traced:
        assert set(block.gradients) == set(range(block.grid[0] * block.grid[1]))
        for window, gradient in block.gradients.items():
            rows, cols = (torch.arange(length) // side for length in gradient.shape)
            reached = block.reach[window].view(traced[0].grid)[rows][:, cols]  # by token of the stem
            assert (gradient[~reached] == 0).all()
            assert (gradient[reached] > 0).float().mean() > 0.95  # and the field is no larger than it must be
    assert traced[0].reach.all() == (height == 64)  # one region of windows covers the grid there


def test_without_exchange_the_receptive_field_is_the_window():
    alone, talking = (trace_messengers(small_msg(exchange=name), noise(64, 64)) for name in ("none", "shuffle"))
    for block in alone[:2]:
        assert torch.equal(block.reach, torch.eye(16, dtype=torch.bool))
    assert talking[0].reach.all()  # one region covers the grid of 4 x 4


def test_tracing_does_not_change_the_model():
    model = small_msg().train()
    trace_messengers(model, noise(64, 64), gradients=1)
    assert model.training
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("grid", "count", "windows"),
    [
        ((8, 8), 1, [36]),
        ((8, 8), 4, [18, 22, 50, 54]),
        ((1, 6), 3, [1, 3, 5]),
        ((2, 2), 100, [0, 1, 2, 3]),
        ((3, 3), 0, []),
    ],
)
def test_measured_windows_are_evenly_distributed(grid, count, windows):
    assert choose_windows(grid, count) == windows


def test_the_number_of_windows_is_never_exceeded():
    for rows in range(1, 7):
        for cols in range(1, 7):
            for count in range(1, 40):
                chosen = choose_windows((rows, cols), count)
                assert 1 <= len(chosen) == len(set(chosen)) <= count
                assert max(chosen) < rows * cols

import numpy as np
import pytest

from msgformer.model_parts import (
    MERGE_KINDS,
    check_attention,
    check_choice,
    check_heads,
    check_stages,
    relative_position_index,
    sincos_position,
)


def test_groups_cover_all_tokens():
    """The shares of each stage are four quarters, and more significant tokens are in smaller groups."""
    for kinds in MERGE_KINDS.values():
        assert sum(kind.quarters for kind in kinds) == 4
        assert [kind.group for kind in kinds] == sorted((kind.group for kind in kinds), reverse=True)


def test_relative_position_index_of_a_window():
    """A window of 1 x 2: entries 0 to 2 are b^rel of left, same and right; 3 is theta_2 and 4 is theta_1."""
    assert relative_position_index((1, 2)).tolist() == [[4, 4, 4], [3, 1, 0], [3, 2, 1]]
    index = relative_position_index((2, 3))
    assert (index[1:, 1:].min(), index[1:, 1:].max()) == (0, 14)
    assert (index[1:, 1:] + index[1:, 1:].T == 14).all()  # opposite directions


def test_sincos_position_encodes_columns_first():
    """The embedding of row 1, column 2 of a 2 x 3 grid."""
    position = sincos_position((2, 3), 8)
    assert position.shape == (1, 6, 8)
    assert position.dtype == np.float32
    wanted = [np.sin(2), np.sin(0.02), np.cos(2), np.cos(0.02), np.sin(1), np.sin(0.01), np.cos(1), np.cos(0.01)]
    np.testing.assert_allclose(position[0, 5], wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: sincos_position((2, 2), 6), "needs embed_dims.0. divisible by 4, got 6"),
        (lambda: check_choice("attention", "locl", {"local": 1, "global": 2}), "unknown attention 'locl', .* 'local'"),
        (lambda: check_stages(depths=(1, 2), num_heads=(1,)), r"got depths=\(1, 2\), num_heads=\(1,\)"),
        (lambda: check_heads(6, 4), "6 channels are not divisible by 4 heads"),
        (lambda: check_heads(6, 0), "6 channels are not divisible by 0 heads"),
        (lambda: check_attention(8, 2, 3), "reductions must be 8, 4, 2 or 1, got 3"),
        (lambda: check_attention(6, 4, 2), "6 channels can't have 4 heads"),
        (lambda: check_attention(6, 3, 2), "even number of heads, got num_heads 3"),
    ],
)
def test_wrong_settings_are_named(check, message):
    """The error names the setting and its value."""
    with pytest.raises(ValueError, match=message):
        check()


def test_right_settings_pass():
    """Plain attention (reduction 1) may have an odd number of heads."""
    check_choice("attention", "local", {"local": 1})
    check_stages(depths=(1, 2), num_heads=(1, 2))
    check_heads(6, 3)
    check_attention(6, 3, 1)

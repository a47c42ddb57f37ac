import torch

from msgformer.models.position_embedding import position_map


def test_own_size_is_returned_unchanged():
    """At its own size the embedding is only arranged as a map."""
    embedding = torch.randn(1, 6, 4)
    torch.testing.assert_close(position_map(embedding, (2, 3), (2, 3)), embedding.view(1, 2, 3, 4), rtol=0, atol=0)


def test_other_sizes_are_interpolated():
    """A constant embedding stays constant, and rows stay rows."""
    embedding = torch.tensor([0.0, 1.0]).repeat_interleave(3).view(1, 6, 1)  # row 0 has zeros, row 1 ones
    resampled = position_map(embedding, (2, 3), (4, 6))
    assert resampled.shape == (1, 4, 6, 1)
    assert (resampled[0, :, :1] - resampled[0]).abs().max() < 1e-6
    assert resampled[0, 0, 0] < 0.2
    assert resampled[0, 3, 0] > 0.8

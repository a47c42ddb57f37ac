"""Window partition and its inverse, compared with simple loops."""

import pytest
import torch

from msgformer.models.window import (
    Grid,
    from_sequences,
    from_windows,
    gather_neighbors,
    index_all_images,
    pad_to_multiple,
    to_rows,
    to_sequences,
    to_windows,
    window_grid,
)

SIZES = [(1, 1), (2, 3), (4, 6), (5, 7), (7, 4), (9, 1)]
WINDOWS = [(2, 2), (2, 3), (4, 1)]


def numbered(height, width, batch=2, channels=3):
    """A map whose numbers all differ; none is zero."""
    return torch.arange(1.0, batch * height * width * channels + 1).view(batch, height, width, channels)


def padded_by_hand(x, height, width):
    padded = x.new_zeros(x.shape[0], height, width, x.shape[3])
    padded[:, : x.shape[1], : x.shape[2]] = x
    return padded


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", WINDOWS)
def test_windows_are_slices_of_the_zero_padded_map(size, window):
    x = numbered(*size)
    rows, cols = window_grid(size, window)
    assert (rows - 1) * window[0] < size[0] <= rows * window[0]
    assert (cols - 1) * window[1] < size[1] <= cols * window[1]
    padded = padded_by_hand(x, rows * window[0], cols * window[1])
    wanted = [
        image[row : row + window[0], col : col + window[1]].flatten(0, 1)
        for image in padded
        for row in range(0, padded.shape[1], window[0])
        for col in range(0, padded.shape[2], window[1])
    ]
    assert torch.equal(to_windows(x, window), torch.stack(wanted))
    assert torch.equal(pad_to_multiple(x, window), padded)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", WINDOWS)
def test_windows_are_merged_back_to_the_map(size, window):
    x = numbered(*size)
    assert torch.equal(from_windows(to_windows(x, window), window, 2, size), x)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", WINDOWS)
def test_sequences_start_with_the_messenger_of_the_window(size, window):
    rows, cols = window_grid(size, window)
    patches, messengers = numbered(*size), -numbered(rows, cols).flatten(0, 2)
    x = to_sequences(patches, messengers, window)
    assert x.shape == (2 * rows * cols, 1 + window[0] * window[1], 3)
    assert torch.equal(x[:, 0], messengers)
    assert torch.equal(x[:, 1:], to_windows(patches, window))
    back = from_sequences(x, window, 2, size)
    assert torch.equal(back[0], patches)
    assert torch.equal(back[1], messengers)


def test_a_map_of_whole_windows_is_not_copied_by_padding():
    x = numbered(4, 6)
    assert pad_to_multiple(x, (2, 3)) is x


def test_tokens_outside_the_map_are_zeros():
    x = numbered(2, 3)
    row, col = torch.meshgrid(torch.arange(-1, 3), torch.arange(-1, 4), indexing="ij")
    taken = index_all_images(Grid(2, 2, 3), row.flatten(), col.flatten()).gather(to_rows(x)).view(2, 4, 5, 3)
    assert torch.equal(taken[:, 1:3, 1:4], x)
    assert taken.sum() == x.sum()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("stride", "side", "first"), [(2, 3, -1), (2, 2, 0), (4, 4, 0)])
def test_neighbors_are_those_of_a_strided_convolution(size, stride, side, first):
    x = numbered(*size).double()
    rows, cols = window_grid(size, (stride, stride))
    taken = gather_neighbors(to_rows(x), Grid(2, *size), stride, side, first)
    assert taken.shape == (2 * rows * cols, side**2, 3)
    padded = padded_by_hand(x, rows * stride + side, cols * stride + side)
    padded = padded.roll((-first, -first), dims=(1, 2))  # what comes round is zero
    wanted = [
        image[row : row + side, col : col + side].flatten(0, 1)
        for image in padded
        for row in range(0, rows * stride, stride)
        for col in range(0, cols * stride, stride)
    ]
    assert torch.equal(taken, torch.stack(wanted))

import numpy as np
import torch
from PIL import Image

from explanations.small_models import noise, small_msg
from msgformer.explanations.messengers import trace_messengers
from msgformer.explanations.overlay import (
    MIN_SIDE,
    attention_map,
    crop,
    draw_windows,
    enlarge,
    group_colors,
    normalize_heat,
    overlay_groups,
    overlay_heat,
    to_light_gray,
    to_pixels,
    window_box,
)


def test_attention_is_placed_at_its_patches():
    """Each patch of the map has the value of its window's attention."""
    block = trace_messengers(small_msg(), noise(50, 93))[0]
    map_ = attention_map(block, 0)
    rows, cols = block.grid
    assert map_.shape == (rows * 4, cols * 4)
    for row, col in [(0, 0), (5, 9), (15, 23)]:
        window, place = row // 4 * cols + col // 4, row % 4 * 4 + col % 4
        assert map_[row, col] == block.attention[0, window, 1 + place]
    many = trace_messengers(small_msg(), noise(50, 93))[-1]
    np.testing.assert_allclose(
        attention_map(many),
        torch.stack([many.attention[h] for h in range(4)])
        .mean(0)[:, 1:]
        .view(*many.grid, 4, 4)
        .transpose(1, 2)
        .reshape(many.grid[0] * 4, -1),
        atol=1e-7,
    )


def test_tokens_are_enlarged_to_pixels_and_padding_is_cropped():
    pixels = to_pixels(np.arange(6).reshape(2, 3), 4, (7, 9))
    assert pixels.shape == (7, 9)
    assert pixels[3, 3] == 0
    assert pixels[4, 8] == 5
    assert crop(np.zeros((4, 4)), 4, (7, 9)).shape == (2, 3)


def test_heat_ranges_from_the_gray_image_to_dark_red():
    image = Image.new("RGB", (2, 1), (10, 200, 90))
    drawn = np.asarray(overlay_heat(image, np.array([[0.0, 1.0]])))
    assert np.abs(drawn[0, 0] - to_light_gray(image)[0, 0]).max() <= 1
    red, green, blue = drawn[0, 1]
    assert red > 2 * max(green, blue)


def test_values_are_normalized_by_percentiles():
    assert normalize_heat(np.full((3, 3), 0.2)).max() == 0
    values = normalize_heat(np.arange(1001.0))
    assert values.min() <= 0
    assert values.max() >= 1


def test_colors_of_groups_depend_on_their_kind():
    colors = group_colors([0, 0, 1, 2, 2]).astype(int)
    assert len({tuple(color) for color in colors}) == 5
    assert all(color[2] == max(color) for color in colors[:2])  # blue
    assert all(color[0] == max(color) for color in colors[3:])  # orange
    drawn = np.asarray(overlay_groups(Image.new("RGB", (3, 1)), np.array([[0, 0, 4]]), colors))
    assert (drawn[0, 0] == drawn[0, 1]).all()
    assert (drawn[0, 0] != drawn[0, 2]).any()


def test_only_small_images_are_enlarged():
    assert enlarge(Image.new("RGB", (64, 32)))[0].size == (MIN_SIDE, MIN_SIDE // 2)
    assert enlarge(Image.new("RGB", (900, 600)))[1] == 1


def test_windows_at_the_border_are_clipped_to_the_image():
    assert window_box(3, (2, 2), (32, 32), (40, 50)) == (32, 32, 39, 49)
    assert window_box(4, (2, 3), (32, 32), (90, 50)) == (32, 32, 63, 49)
    image = Image.new("RGB", (40, 50))
    drawn = np.asarray(draw_windows(image, (2, 2), (32, 32), chosen=3))
    assert (drawn[32, :32] == 255).all()
    assert (drawn[40, 32] == (20, 88, 190)).all()
    assert (drawn[10, 10] == 0).all()


def test_windows_are_separated_in_rows_and_columns():
    drawn = np.asarray(draw_windows(Image.new("RGB", (48, 20)), (2, 4), (10, 12)))
    lines = (drawn == 255).all(axis=2)
    assert lines.all(axis=1).nonzero()[0].tolist() == [10]
    assert lines.all(axis=0).nonzero()[0].tolist() == [12, 24, 36]

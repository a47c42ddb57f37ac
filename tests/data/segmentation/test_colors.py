import numpy as np
import pytest

from msgformer.data.segmentation.colors import describe_colors, format_color, is_gray, pack_colors, parse_color


@pytest.mark.parametrize("text", ["#0a141E", "10 20 30", "10,20,30", "(10, 20, 30)", "[10, 20,  30]"])
def test_colors_as_text(text):
    assert parse_color(text) == 0x0A141E
    assert format_color(0x0A141E) == "10, 20, 30"


@pytest.mark.parametrize("text", ["", "#0a141", "10 20", "10 20 300", "a, b, c", "10 20 30 40"])
def test_other_text_is_no_color(text):
    assert parse_color(text) is None


def test_colors_of_pixels():
    pixels = np.array([[[10, 20, 30, 255], [7, 7, 7, 255]]], np.uint8)
    assert pack_colors(pixels).tolist() == [[0x0A141E, 0x070707]]
    assert [is_gray(pixels), is_gray(pixels[:, 1:])] == [False, True]
    pixels[0, 1, 3] = 100
    assert not is_gray(pixels[:, 1:])


def test_the_description_holds_shares_and_the_option():
    found = describe_colors({0: 75, 0x800000: 25}, {}, ["floor", "cat"])
    assert found == (
        "colors: (0, 0, 0) 75.0%, (128, 0, 0) 25.0%; give each its class, with --segment_images.label_map"
        ' \'{"0, 0, 0": floor, "128, 0, 0": cat}\''
    )
    assert '"0, 0, 0": CLASS1, "128, 0, 0": CLASS2' in describe_colors({0: 75, 0x800000: 25}, {})


def test_photographs_are_no_label_maps():
    found = describe_colors(dict.fromkeys(range(300), 1), {})
    assert found.startswith("300 colors (")
    assert "and 290 more), too many for classes; save label maps as PNG without smoothing" in found


def test_only_colors_without_a_class_are_named_where_others_have_one():
    found = describe_colors({0: 75, 0x800000: 25}, {0: 0})
    assert found == "colors that no class has: (128, 0, 0) 25.0%; add them to the colors of the classes"

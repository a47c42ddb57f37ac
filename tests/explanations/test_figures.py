import io

import numpy as np
import pytest
from PIL import Image

from explanations.small_models import noise, small_msg, small_sg
from explanations.test_page import gradient_picture
from msgformer.explanations.figures import draw_reach, draw_sources, figures, shown_window
from msgformer.explanations.messengers import trace_messengers
from msgformer.explanations.overlay import Explained, enlarge
from msgformer.explanations.significance import trace_significance


def drawn(image, **settings):
    return {name: Image.open(io.BytesIO(content)) for name, content in figures(image, **settings)}


def test_an_msg_transformer_has_a_picture_a_block_and_overviews():
    image = Explained("a", gradient_picture(), trace_messengers(small_msg(), noise(50, 93), gradients=2))
    pictures = drawn(image, each_head=True)
    blocks = ["1.1", "1.2", "2.1", "2.2", "3.1", "3.2"]
    assert {f"attention-{block}" for block in blocks} < set(pictures)
    assert {"attention", "routes", "receptive-field", "attention-3.1-head-4"} < set(pictures)
    assert len(pictures) == 6 + 2 * (1 + 2 + 4) + 3
    assert all(picture.size == (93 * 6, 50 * 6) for name, picture in pictures.items() if "-1." in name)


def test_an_sgformer_has_maps_and_groups():
    pictures = drawn(Explained("a", gradient_picture(), trace_significance(small_sg(), noise(50, 93))), each_head=False)
    maps = {f"significance-{block}" for block in ("1.1", "2.1", "2.3", "3.1", "3.3")}
    assert set(pictures) == {*maps, *(f"groups-{block}" for block in ("1.2", "2.2", "3.2", "3.4")), "significance"}


@pytest.mark.parametrize("gradients", [0, 3])
def test_what_a_messenger_does_not_know_is_shaded(gradients):
    """Of a window in its own region alone: the rest of the picture is darker."""
    block = trace_messengers(small_msg(exchange="none"), noise(64, 64), gradients=gradients)[0]
    picture, times = enlarge(Image.new("RGB", (64, 64), "white"))
    pixels = np.asarray(draw_reach(picture, times, block)).astype(int)
    row, col = divmod(shown_window(block), 4)
    for other in range(16):
        center = pixels[other // 4 * 128 + 64, other % 4 * 128 + 64]
        if (other // 4, other % 4) != (row, col):
            assert center.max() < 180
    own = pixels[row * 128 + 64, col * 128 + 64]
    assert own.tolist() == [255, 255, 255] if not gradients else own[0] > 2 * own[1]


def test_sources_are_colored():
    block = trace_messengers(small_msg(shuffle_sizes=(2, 2, 2)), noise(64, 64))[0]
    picture, times = enlarge(Image.new("RGB", (64, 64), "white"))
    pixels = np.asarray(draw_sources(picture, times, block)).astype(int)
    shares = block.routes.shares[shown_window(block)]
    for window in range(16):
        center = pixels[window // 4 * 128 + 60, window % 4 * 128 + 60]
        assert (center[0] > center[2] + 50) == bool(shares[window] > 0)

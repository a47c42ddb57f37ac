import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from explanations.small_models import noise, small_msg, small_sg
from explanations.test_page import gradient_image
from msgformer.explanations.figures import draw_reach, draw_sources, figures, selected_window
from msgformer.explanations.messengers import trace_messengers
from msgformer.explanations.overlay import ExplainedImage, enlarge
from msgformer.explanations.significance import trace_significance


def draw(explained, **settings):
    return {name: Image.open(io.BytesIO(content)) for name, content in figures(explained, **settings)}


def test_an_msg_transformer_has_one_figure_per_block_and_overviews():
    explained = ExplainedImage("a", gradient_image(), trace_messengers(small_msg(), noise(50, 93), gradients=2))
    images = draw(explained, each_head=True)
    blocks = ["1.1", "1.2", "2.1", "2.2", "3.1", "3.2"]
    assert {f"attention-{block}" for block in blocks} < set(images)
    assert {"attention", "routes", "receptive-field", "attention-3.1-head-4"} < set(images)
    assert len(images) == 6 + 2 * (1 + 2 + 4) + 3
    assert all(image.size == (93 * 6, 50 * 6) for name, image in images.items() if "-1." in name)


def test_an_sgformer_has_maps_and_groups():
    images = draw(ExplainedImage("a", gradient_image(), trace_significance(small_sg(), noise(50, 93))), each_head=False)
    maps = {f"significance-{block}" for block in ("1.1", "2.1", "2.3", "3.1", "3.3")}
    assert set(images) == {*maps, *(f"groups-{block}" for block in ("1.2", "2.2", "3.2", "3.4")), "significance"}


@pytest.mark.parametrize("gradients", [0, 3])
def test_windows_outside_the_receptive_field_are_shaded(gradients):
    """Without exchange, everything except the own window is darker."""
    block = trace_messengers(small_msg(exchange="none"), noise(64, 64), gradients=gradients)[0]
    image, scale = enlarge(Image.new("RGB", (64, 64), "white"))
    pixels = np.asarray(draw_reach(image, scale, block)).astype(int)
    row, col = divmod(selected_window(block), 4)
    for other in range(16):
        center = pixels[other // 4 * 128 + 64, other % 4 * 128 + 64]
        if (other // 4, other % 4) != (row, col):
            assert center.max() < 180
    own = pixels[row * 128 + 64, col * 128 + 64]
    assert own.tolist() == [255, 255, 255] if not gradients else own[0] > 2 * own[1]


def test_sources_are_colored():
    block = trace_messengers(small_msg(shuffle_sizes=(2, 2, 2)), noise(64, 64))[0]
    image, scale = enlarge(Image.new("RGB", (64, 64), "white"))
    pixels = np.asarray(draw_sources(image, scale, block)).astype(int)
    shares = block.routes.shares[selected_window(block)]
    for window in range(16):
        center = pixels[window // 4 * 128 + 60, window % 4 * 128 + 60]
        assert (center[0] > center[2] + 50) == bool(shares[window] > 0)


@pytest.mark.parametrize(("grid", "window"), [((5, 3), 2 * 3 + 1), ((4, 2), 1 * 2), ((1, 8), 3)])
def test_the_selected_window_is_near_the_center(grid, window):
    assert selected_window(SimpleNamespace(grid=grid, gradients={})) == window
    assert selected_window(SimpleNamespace(grid=grid, gradients={0: None})) == 0

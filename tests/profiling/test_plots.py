import io
import xml.etree.ElementTree as ET

import pytest
from matplotlib.axes import Axes
from PIL import Image

from msgformer.profiling.plots import Point, latency_plot, throughput_plot

POINTS = [
    Point(line, batch, (side, side), scale * batch * side, scale * batch * side - 1, scale * batch * side + 1)
    for line, scale in (("ours, eager", 1.0), ("theirs, eager", 2.0))
    for batch in (1, 8)
    for side in (224, 448)
]


def texts(plot):
    return [element.text for element in ET.fromstring(plot.svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (latency_plot, {"batch 1", "batch 8", "224", "448", "ms per batch"}),
        (throughput_plot, {"224 x 224", "448 x 448", "1", "8", "images per second"}),
    ],
)
def test_every_line_has_a_label_and_every_panel_its_ticks(draw, expected):
    plot = draw(POINTS)
    assert {*expected, "ours, eager", "theirs, eager"} <= set(texts(plot))
    assert texts(plot).count("ours, eager") == 1  # one legend for all panels
    assert min(Image.open(io.BytesIO(plot.png)).size) > 300


def test_values_are_milliseconds_and_images_per_second(monkeypatch):
    drawn = []
    draw = Axes.errorbar

    def record(axes, x, y, bars, **style):
        drawn.append((list(x), y, bars))
        return draw(axes, x, y, bars, **style)

    monkeypatch.setattr(Axes, "errorbar", record)
    points = [Point("a", batch, (32, 32), 10.0 * batch, 8.0 * batch, 20.0 * batch) for batch in (4, 2)]
    latency_plot(points[:1])
    throughput_plot(points)
    assert drawn == [([32.0], [40.0], [[8.0], [40.0]]), ([2, 4], [100.0, 100.0], [[50.0, 50.0], [25.0, 25.0]])]


@pytest.mark.parametrize(("last", "expected"), [(40_000, {"100", "1000", "10000"}), (150, {"110", "130"})])
def test_tick_labels_are_plain_numbers(last, expected):
    points = [Point("a", 1, (side, side), ms, ms, ms) for side, ms in ((224, 100.0), (448, float(last)))]
    found = texts(latency_plot(points))
    assert expected <= set(found)
    assert not [text for text in found if "$" in text]


def test_a_rectangle_is_plotted_at_the_side_of_the_square_of_equal_area():
    assert Point("a", 1, (100, 400), 1.0, 1.0, 1.0).side == 200


def test_lines_of_one_color_differ_in_style():
    points = [Point(f"model {number}", 1, (32, 32), 1.0 + number, 1.0, 9.0) for number in range(8)]
    assert "stroke-dasharray" in latency_plot(points).svg
    assert {f"model {number}" for number in range(8)} <= set(texts(latency_plot(points)))

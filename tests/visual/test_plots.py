import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from msgformer.visual.plots import (
    COLORS,
    MAX_LABELS,
    confusion_plot,
    histogram_plot,
    label,
    line_plot,
    reliability_plot,
)

SVG = "{http://www.w3.org/2000/svg}"


def texts(plot):
    return [element.text for element in ET.fromstring(plot.svg).iter(f"{SVG}text")]


def test_both_formats_are_complete_and_the_png_is_on_white():
    plot = line_plot("curve", {"Loss": {"train": [2.0, 1.0], "val": [3.0, float("nan")]}}, [1, 2], mark=2)
    assert plot.name == "curve"
    assert {"Loss", "train", "val", "best: epoch 2"} <= set(texts(plot))
    image = Image.open(io.BytesIO(plot.png))
    assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    assert min(image.size) > 300


def test_the_svg_inherits_size_and_color_from_the_page():
    root = ET.fromstring(line_plot("x", {"a": {"b": [1.0]}}, [1]).svg)
    assert root.get("viewBox")
    assert root.get("width") is None
    assert "prefers-color-scheme:dark" in root.find(f"{SVG}style").text


def test_the_same_plot_is_the_same_file():
    first, second = (histogram_plot("h", "Recall", [10.0, 20.0, 90.0], "%") for _ in range(2))
    assert (first.svg, first.png) == (second.svg, second.png)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "$x^2$", "a & b", "\"quoted'", "-->", "new\nline\x1b[31m"]
)
def test_names_of_classes_stay_text(name):
    plot = confusion_plot(np.eye(2, dtype=int), [name, "other"])
    assert "<script" not in plot.svg
    assert label(name) in texts(plot)
    assert label(name).isprintable()


def test_letters_without_a_glyph_are_no_warning(recwarn):
    confusion_plot(np.eye(2, dtype=int), ["日本", "b"])
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_a_matrix_of_few_classes_has_names_and_numbers_and_one_of_many_neither():
    few = texts(confusion_plot(np.array([[41, 0], [3, 57]]), ["cat", "dog"]))
    assert {"cat", "dog", "41", "57", "3"} <= set(few)
    assert "0" not in few
    names = [f"class{index}" for index in range(300)]
    many = texts(confusion_plot(np.eye(100, dtype=int), names))
    assert not set(names) & set(many)
    assert "predicted (classes by number, 300 in 100 groups)" in many
    assert len(many) < 40
    assert "class0" not in texts(confusion_plot(np.eye(MAX_LABELS + 1, dtype=int), names[: MAX_LABELS + 1]))


def test_no_line_is_lost_when_there_are_more_than_colors():
    lines = {f"loss{number}": [2.0, 1.0] for number in range(len(COLORS) + 2)}
    assert set(lines) <= set(texts(line_plot("loss", {"Loss": lines}, [1, 2])))


@pytest.mark.parametrize("values", [[float("nan"), 2.0], [float("nan")] * 2, [0.0, 0.0]])
def test_unknown_values_and_zeros_are_plotted_from_zero(values):
    assert "Rate" in texts(line_plot("rate", {"Rate": {"lr": values}}, [1, 2], from_zero=True))


def test_colors_of_a_confusion_matrix_are_fractions_of_the_true_class(monkeypatch):
    drawn = []
    show = Axes.imshow

    def record(axes, values, **style):
        drawn.append(values)
        return show(axes, values, **style)

    monkeypatch.setattr(Axes, "imshow", record)
    confusion_plot(np.array([[30, 10], [0, 5]]), ["cat", "dog"])
    assert drawn[0].tolist() == [[75, 25], [0, 100]]


def test_empty_bins_are_left_out_of_the_diagram():
    bins = np.array([[np.nan, np.nan, 0], [0.7, 0.6, 5]])
    assert {"accuracy", "calibrated", "images"} <= set(texts(reliability_plot(bins)))
    assert "nan" not in reliability_plot(bins).svg.lower()

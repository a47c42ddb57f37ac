import numpy as np
import pytest
from matplotlib.figure import Figure

from msgformer.studies.plots import _draw_runs


def test_bars_are_the_sample_standard_deviation():
    axes = Figure().subplots()
    _draw_runs(axes, np.array([0, -1]), [("a", [70.0, 72.0, 77.0], None), ("b", [50.0], None)])
    (first,), (second,) = (container.lines[2][0].get_segments() for container in axes.containers)
    assert first[:, 0].tolist() == pytest.approx([73 - 13**0.5, 73 + 13**0.5])
    assert second[:, 0].tolist() == [50, 50]

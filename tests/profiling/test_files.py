from types import SimpleNamespace

import pytest

from msgformer.profiling.files import benchmark_plots


def timing(batch, side):
    times = {"ms": 2.0, "low_ms": 1.0, "high_ms": 3.0}
    return SimpleNamespace(model="a", backend="eager", batch=batch, height=side, width=side, **times)


@pytest.mark.parametrize(
    ("batches", "sides", "names"),
    [((1,), (64,), []), ((1,), (64, 96), ["latency"]), ((1, 8), (64,), ["throughput"])],
)
def test_plots_are_over_what_was_varied(batches, sides, names):
    timings = [timing(batch, side) for batch in batches for side in sides]
    assert [plot.name for plot in benchmark_plots(SimpleNamespace(timings=timings))] == names

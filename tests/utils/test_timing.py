import pytest

from msgformer.utils import timing
from msgformer.utils.timing import Spread, pair_ratios, spread, time_interleaved


def test_runs_are_interleaved_and_timed(monkeypatch):
    now, order = [0.0], []

    def run(name, *seconds):
        left = list(seconds)

        def once():
            order.append(name)
            now[0] += left.pop(0)

        return once

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    taken = time_interleaved([run("A", 100, 1, 2, 4), run("B", 100, 3, 4, 6)], rounds=3, warm_up=1)
    assert order == ["A", "B"] * 4
    assert taken == [[1, 2, 4], [3, 4, 6]]
    assert pair_ratios(taken[1], taken[0]) == [3, 2, 1.5]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([5.0], (5, 5, 5)), ([3.0, 1.0], (1.5, 2, 2.5)), ([4.0, 1.0, 2.0, 3.0, 100.0], (2, 3, 4))],
)
def test_quartiles(values, expected):
    assert spread(values) == Spread(*expected)


def test_ratios_are_robust_to_slow_rounds():
    slow = pair_ratios([1, 10, 1], [2, 20, 2])
    assert spread(slow) == (0.5, 0.5, 0.5)

"""Averages of weights."""

import math
from pathlib import Path

import torch

from msgformer.weights import averaging


class Numbers:
    """Fake ingredients whose weights are a single number."""

    def __init__(self, numbers):
        self.numbers = numbers

    def weights(self, path):
        return {"x": torch.tensor(self.numbers[path])}

    def soup(self):
        return averaging.Soup({"x": torch.tensor(0.0, dtype=torch.double)}, 0)


def test_a_greedy_average_adds_only_checkpoints_that_improve_it():
    paths = [Path(name) for name in "abcd"]
    numbers = dict(zip(paths, [1.0, -5.0, -1.0, 0.0], strict=True))

    def near_zero(soup):
        return -abs(soup.total["x"].item() / soup.count)

    ranked = dict(zip(paths, [-1.0, -2.0, -3.0, -4.0], strict=True))
    soup, taken, best = averaging.select_greedily(ranked, Numbers(numbers), near_zero)
    assert [path.name for path in taken] == ["a", "c", "d"]
    assert (soup.count, math.isclose(best, 0.0)) == (3, True)

"""Means over an epoch that a checkpoint in its middle can hold."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning.pytorch.strategies import Strategy

State = dict[str, tuple[float, float]]
"""Weighted sum and weight by name."""


class Means:
    """Weighted means of named numbers since the last reset, summed in double precision on the host.

    Lightning's own epoch means are lost when a training stops within an epoch.
    """

    def __init__(self) -> None:
        self.sums: State = {}

    def add(self, values: Mapping[str, float], weight: float) -> None:
        """Count some values."""
        for name, value in values.items():
            total, weights = self.sums.get(name, (0.0, 0.0))
            self.sums[name] = total + value * weight, weights + weight

    def state(self, strategy: Strategy) -> State:
        """The sums over all processes, each of which must call this; all count the same names."""
        names = sorted(self.sums)
        sums = torch.tensor([self.sums[name] for name in names], dtype=torch.float64)
        # Where there is one process nothing may move to its device: some have no double precision.
        if torch.distributed.is_initialized():
            sums = strategy.reduce(sums.to(strategy.root_device), reduce_op="sum").cpu()
        return {name: (total, weight) for name, (total, weight) in zip(names, sums.tolist(), strict=True)}

    def load(self, state: State) -> None:
        """Go on from sums that :meth:`state` gave, as one process; the others go on from zeros of the same names."""
        self.sums = dict(state)

    def take(self, strategy: Strategy) -> dict[str, float]:
        """The means over all processes, each of which must call this; what comes next starts anew."""
        means = {name: total / weight for name, (total, weight) in self.state(strategy).items()}
        self.sums = {}
        return means

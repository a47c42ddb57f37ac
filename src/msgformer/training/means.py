"""Means over an epoch whose state a checkpoint within the epoch can store."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning.pytorch.strategies import Strategy

State = dict[str, tuple[float, float]]
"""Weighted sum and total weight by name."""


class Means:
    """Weighted means of named values since the last reset, summed in double precision on the host.

    Lightning's own epoch means are lost when a training stops within an epoch.
    """

    def __init__(self) -> None:
        self.sums: State = {}

    def add(self, values: Mapping[str, float], weight: float) -> None:
        """Add values to their means.

        Args:
            values: Values by name.
            weight: Weight of the values, such as the number of images.
        """
        for name, value in values.items():
            total, weights = self.sums.get(name, (0.0, 0.0))
            self.sums[name] = total + value * weight, weights + weight

    def state(self, strategy: Strategy) -> State:
        """Return the sums over all processes; every process must call this, with the same names."""
        names = sorted(self.sums)
        sums = torch.tensor([self.sums[name] for name in names], dtype=torch.float64)
        # A single process keeps the sums on the host, since some devices have no double precision.
        if torch.distributed.is_initialized():
            sums = strategy.reduce(sums.to(strategy.root_device), reduce_op="sum").cpu()
        return {name: (total, weight) for name, (total, weight) in zip(names, sums.tolist(), strict=True)}

    def load(self, state: State) -> None:
        """Restore the sums of `state`. One process loads them; the others load zeros under the same names."""
        self.sums = dict(state)

    def compute_and_reset(self, strategy: Strategy) -> dict[str, float]:
        """Return the means over all processes, and reset them; every process must call this."""
        means = {name: total / weight for name, (total, weight) in self.state(strategy).items()}
        self.sums = {}
        return means

"""Selection of the best epoch of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

Row = dict[str, float]
"""Metrics of one epoch: its number from 1, optimizer steps so far, the current learning rate, and logged values."""


@dataclass(frozen=True)
class Best:
    """Rule that selects the best epoch.

    Attributes:
        metric: Metric to compare, such as ``val/top1``.
        higher_is_better: Whether the highest value of ``metric`` is the best.
        tie_breaker: Metric whose lowest value decides between epochs with equal ``metric``; None selects the first
            of them.
    """

    metric: str
    higher_is_better: bool = True
    tie_breaker: str | None = None

    def select(self, rows: Sequence[Row]) -> Row:
        """Return the best epoch among those with the metric, the first one of equals; without any, the last epoch."""
        return min((row for row in rows if self.metric in row), key=self._rank, default=rows[-1])

    def with_prefix(self, prefix: str) -> Best:
        """Return the same rule for prefixed names: ``val/PREFIXtop1`` instead of ``val/top1``."""
        tie_breaker = self.tie_breaker and _prefixed(self.tie_breaker, prefix)
        return replace(self, metric=_prefixed(self.metric, prefix), tie_breaker=tie_breaker)

    def _rank(self, row: Row) -> tuple[float, float]:
        """Return a sort key: lower is better, and NaN is worst."""
        value = -row[self.metric] if self.higher_is_better else row[self.metric]
        tie = 0.0 if self.tie_breaker is None else row[self.tie_breaker]
        return (math.inf if math.isnan(value) else value), (math.inf if math.isnan(tie) else tie)


def _prefixed(metric: str, prefix: str) -> str:
    group, _, name = metric.rpartition("/")
    return f"{group}/{prefix}{name}"

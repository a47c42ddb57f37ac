"""Which epoch of a training is the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

Row = dict[str, float]
"""One epoch: its number from 1, optimiser steps so far, the learning rate reached, and what was logged."""


@dataclass(frozen=True)
class Best:
    """The rule that compares epochs.

    Attributes:
        metric: What decides, such as ``val/top1``.
        higher: Whether more of it is better.
        tie: Metric of which less is better, for epochs that are equal otherwise; None: the first of them is best.
    """

    metric: str
    higher: bool = True
    tie: str | None = None

    def of(self, rows: Sequence[Row]) -> Row:
        """The best of some epochs that were scored, the first one of equals."""
        return min((row for row in rows if self.metric in row), key=self._rank)

    def with_prefix(self, prefix: str) -> Best:
        """The same rule for ``val/PREFIXtop1`` in the place of ``val/top1``."""
        return replace(self, metric=_prefixed(self.metric, prefix), tie=self.tie and _prefixed(self.tie, prefix))

    def _rank(self, row: Row) -> tuple[float, float]:
        """Less is better, and what isn't a number is worst."""
        value = -row[self.metric] if self.higher else row[self.metric]
        tie = 0.0 if self.tie is None else row[self.tie]
        return (math.inf if math.isnan(value) else value), (math.inf if math.isnan(tie) else tie)


def _prefixed(metric: str, prefix: str) -> str:
    group, _, name = metric.rpartition("/")
    return f"{group}/{prefix}{name}"

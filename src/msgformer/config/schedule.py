"""The schedule of a configuration, fitted to another number of epochs."""

from __future__ import annotations

from typing import Any


def fit_schedule(values: dict[str, Any], epochs: int) -> None:
    """Fit a configuration's schedule to another number of epochs.

    A warm-up that would last longer than they do is shortened to its part of them; milestones keep theirs.
    """
    optim, planned = dict(values.get("optim", {})), values.get("epochs", epochs)
    if optim.get("warmup_epochs", 0) > epochs:
        optim["warmup_epochs"] = optim["warmup_epochs"] * epochs // planned
    if optim.get("milestones") and epochs != planned:
        moved = {max(1, round(milestone * epochs / planned)) for milestone in optim["milestones"]}
        optim["milestones"] = sorted(moved)
    if optim:
        values["optim"] = optim

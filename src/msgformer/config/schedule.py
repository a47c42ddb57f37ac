"""Scale the schedule of a configuration to another number of epochs."""

from __future__ import annotations

from typing import Any


def fit_schedule(values: dict[str, Any], epochs: int) -> None:
    """Scale the schedule of a configuration to another number of epochs, in place.

    A warm-up that is longer than the new number of epochs is shortened in proportion. Milestones are always moved in
    proportion.

    Args:
        values: The configuration.
        epochs: The new number of epochs.
    """
    optim, planned = dict(values.get("optim", {})), values.get("epochs", epochs)
    if optim.get("warmup_epochs", 0) > epochs:
        optim["warmup_epochs"] = optim["warmup_epochs"] * epochs // planned
    if optim.get("milestones") and epochs != planned:
        moved = {max(1, round(milestone * epochs / planned)) for milestone in optim["milestones"]}
        optim["milestones"] = sorted(moved)
    if optim:
        values["optim"] = optim

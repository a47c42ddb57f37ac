"""Data folders of detectors and segmenters."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from msgformer.tasks.base import Task
from msgformer.utils.spacing import evenly_spaced

EXAMPLES = 8
"""Largest number of example images in a report, spread evenly over the validation set."""


def data_folder(task: Task, data: str | None) -> Path:
    """Return the data folder of a run.

    Args:
        task: Detection or segmentation.
        data: The user's folder; None for the bundled scenes.
    """
    return task.bundled_scenes() if data is None else Path(data)


def example_indices(count: int, skipped: Collection[int]) -> list[int]:
    """Return the indices of the example images of a report.

    Args:
        count: Number of images.
        skipped: Indices of unreadable images.
    """
    readable = [index for index in range(count) if index not in skipped]
    return [readable[place] for place in evenly_spaced(len(readable), EXAMPLES)]

"""Data folders of detectors and segmenters."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from msgformer.config.data_options import EvaluationSplit
from msgformer.data.detection.instances import InstanceSet
from msgformer.data.files.locations import FOLDER, Location, require_run_data
from msgformer.data.loading.split import Subset
from msgformer.data.loading.trained_images import TrainedImages
from msgformer.data.segmentation.label_maps import LabeledImages
from msgformer.errors import UserError
from msgformer.tasks.base import Task
from msgformer.tasks.opened_model import OpenedModel
from msgformer.utils.spacing import evenly_spaced

EXAMPLES = 8
"""Largest number of example images in a report, spread evenly over the validation set."""


def data_folder(task: Task, data: str | None, *, moved: bool = False) -> Path:
    """Return the data folder of a run.

    Args:
        task: Detection or segmentation.
        data: The user's folder; None for the bundled scenes.
        moved: Check that the folder, which a run has recorded, is still there.

    Raises:
        UserError: The recorded folder is gone.
    """
    if data is not None and moved:
        require_run_data(Location(FOLDER, data))
    return task.bundled_scenes() if data is None else Path(data)


def chosen_subset(split: EvaluationSplit | None) -> Subset:
    """Return the subset to score on.

    Args:
        split: The user's choice; None for the default.

    Raises:
        UserError: It is "all", which has no meaning for data with subsets.
    """
    if split == "all":
        raise UserError("split: all is for data without subsets; give train, val or test")
    return split or "val"


def warn_of_training_images(model: OpenedModel, folder: Path, source: InstanceSet | LabeledImages) -> None:
    """Warn on standard error if images that the model's run was trained on are scored.

    Args:
        model: The model.
        folder: The scored data folder.
        source: The scored images.
    """
    if model.run is None or not model.data:
        return
    trained = TrainedImages.of(model.run, data_folder(model.task, model.data["path"]))
    names = [source.name(index) for index in range(len(source))]
    trained.warn(model.run, folder, names, "give --data of other images")


def example_indices(count: int, skipped: Collection[int]) -> list[int]:
    """Return the indices of the example images of a report.

    Args:
        count: Number of images.
        skipped: Indices of unreadable images.
    """
    readable = [index for index in range(count) if index not in skipped]
    return [readable[place] for place in evenly_spaced(len(readable), EXAMPLES)]

"""Data folders of detectors and segmenters."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from msgformer.config.data_options import EvaluationSplit
from msgformer.data.detection.instances import InstanceSet
from msgformer.data.files.locations import FOLDER, CocoLocation, Location, require_run_data
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


def recorded_subset(split: EvaluationSplit | None) -> Subset:
    """Return the recorded subset that the user's choice stands for; "val" for all images."""
    return "val" if split is None or split == "all" else split


def warn_of_training_images(model: OpenedModel, source: InstanceSet | LabeledImages) -> None:
    """Warn on standard error if images that the model's run was trained on are scored.

    Args:
        model: The model.
        source: The scored images.
    """
    if model.run is not None and model.data:
        trained = trained_images(model, model.run, source)
        names = [source.name(index) for index in range(len(source))]
        trained.warn(model.run, source.root, names, "give --data of other images")


def trained_images(model: OpenedModel, run: Path, source: InstanceSet | LabeledImages) -> TrainedImages:
    """Return the training images of a model's run.

    Args:
        model: The model.
        run: Its run folder.
        source: Images whose place is compared with that of the training images.
    """
    path = model.data["path"]
    explicit = None if path is None else CocoLocation.parse(path)
    if explicit is not None:  # names are relative to a folder that the annotations determine
        return TrainedImages.of(run, source.root if explicit.annotations.exists() else None)
    return TrainedImages.of(run, model.task.bundled_scenes() if path is None else Path(path))


def example_indices(count: int, skipped: Collection[int]) -> list[int]:
    """Return the indices of the example images of a report.

    Args:
        count: Number of images.
        skipped: Indices of unreadable images.
    """
    readable = [index for index in range(count) if index not in skipped]
    return [readable[place] for place in evenly_spaced(len(readable), EXAMPLES)]

"""Choice of the images to score a detector on: given data, or a subset that the model's run has recorded."""

from __future__ import annotations

from pathlib import Path

from msgformer.checkpoints.card import ModelCard
from msgformer.config.data_options import EvaluationSplit
from msgformer.data.detection.instances import InstanceSet
from msgformer.data.detection.sets import find_readers, open_detection_val
from msgformer.data.files.locations import FOLDER, CocoLocation, Location, require_run_data
from msgformer.data.loading.split import Subset, read_split
from msgformer.data.loading.trained_images import note_held_out
from msgformer.errors import UserError, shown
from msgformer.tasks.base import Task
from msgformer.tasks.dense.data import chosen_subset, recorded_subset, trained_images, warn_of_training_images
from msgformer.tasks.dense.evaluation import data_name
from msgformer.tasks.opened_model import OpenedModel


def open_evaluation_set(
    model: OpenedModel, data: str | None, split: EvaluationSplit | None, *, with_masks: bool
) -> tuple[InstanceSet, str]:
    """Open the images to score on.

    Args:
        model: The detector.
        data: The images; None for those of the model's run.
        split: Subset to score on; by default that for validation. "all" is for data without subsets.
        with_masks: Whether to read masks.

    Returns:
        The images, and their name.

    Raises:
        UserError: The data can't be used, or has no such subset.
    """
    card, path = model.card, data or model.data["path"]
    place = path or model.task.bundled_scenes()
    name = data_name(path, split)
    if data is None and split != "all":
        assert model.run is not None  # checked by require_data
        return reopen_subset(card, model.task, model.run, chosen_subset(split), with_masks=with_masks), name
    if data is None:
        _require_data(path)
    if "all" in find_readers(place, with_masks=with_masks):
        source = open_detection_val(place, card.classes, with_masks=with_masks)
        return _recorded_part(model, source, str(path), split), name
    subset = chosen_subset(split)
    source = open_detection_val(place, card.classes, with_masks=with_masks, subset=subset)
    if subset != "train":
        warn_of_training_images(model, source)
    return source, name


def reopen_subset(card: ModelCard, task: Task, run: Path, subset: Subset, *, with_masks: bool = True) -> InstanceSet:
    """Open a subset of the images of a run.

    Args:
        card: The card of the run's model.
        task: Detection.
        run: The run folder.
        subset: The subset.
        with_masks: Whether to read masks.

    Raises:
        UserError: The images don't exist any more, or the run has no such images.
    """
    path = card.data["path"]
    _require_data(path)
    names = read_split(run, subset)
    if names == [] and subset == "val":
        raise UserError(
            f"{shown(str(run))} has no held-out images: it was trained on all images (val_fraction 0); give --data"
            " FOLDER"
        )
    found = open_detection_val(path or task.bundled_scenes(), card.classes, names, with_masks=with_masks, subset=subset)
    if not len(found):
        raise UserError(f"split: the data of {shown(str(run))} has no {subset} images; give --data, or another --split")
    return found


def _require_data(path: str | None) -> None:
    """Check that the data of a run is still there."""
    if path is not None and CocoLocation.parse(path) is None:
        require_run_data(Location(FOLDER, path))


def _recorded_part(model: OpenedModel, source: InstanceSet, data: str, split: EvaluationSplit | None) -> InstanceSet:
    """Return the images of data without subsets to score: those of the run's split if these are its data, or all."""
    trained = None if model.run is None or not model.data else trained_images(model, model.run, source)
    names = [source.name(index) for index in range(len(source))]
    if split != "all" and trained is not None and model.run is not None:
        subset = recorded_subset(split)
        recorded = read_split(model.run, subset) or []
        # The training images are only those with objects, so that others may be in the data.
        is_whole = trained.names and len(trained.among(source.root, names)) == len(trained.names)
        if is_whole and recorded and {*recorded} <= {*names}:
            if split is None:
                note_held_out(model.run, data, len(recorded), len(names))
            return source.named(recorded)
    if split not in (None, "all"):
        raise UserError(
            f"split: {shown(data)} has no {split} images: it has no subsets, and its images are not those whose split a"
            " run beside the model has recorded; leave --split out"
        )
    if trained is not None and model.run is not None:
        trained.warn(model.run, source.root, names, "give --data of other images, or none for the held-out ones")
    return source

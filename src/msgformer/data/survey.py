"""Survey of a dataset before training: numbers of images, classes and problems, for every task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from msgformer.config.dense_data_options import LabelOptions
from msgformer.config.dense_training_options import DetectOptions
from msgformer.data.classification.folder_checks import survey_folder
from msgformer.data.classification.image_checks import check_source_images
from msgformer.data.classification.subsets import open_location
from msgformer.data.dense.checks import check_instances, check_object_counts, check_objects, survey_label_maps
from msgformer.data.detection.instances import InstanceSet
from msgformer.data.detection.sets import find_readers
from msgformer.data.duplicates import find_leaks
from msgformer.data.files.locations import FOLDER, Location, expand_shards, find_labels
from msgformer.data.files.sources import FolderSource, Source
from msgformer.data.files.tars import index_tar
from msgformer.data.problems import Problem, has_errors, sort_problems
from msgformer.data.segmentation.sets import find_segmentation, read_subset
from msgformer.errors import UserError

Progress = Callable[[int], AbstractContextManager[Callable[[], object]]]
"""Function from the number of images to a context manager, whose value is called after each image."""

MANY_OBJECTS_REMEDY = "train with --detect.detections_per_image {count}, and score with --max_dets {count}"
"""Remedy for images with more objects than a detector returns by default."""


@dataclass(frozen=True)
class Survey:
    """Result of a survey.

    Attributes:
        images: Number of images per subset.
        classes: Number of images (for detection, objects; for segmentation, pixels) per subset and class.
        problems: All problems, worst first.
    """

    images: dict[str, int]
    classes: dict[str, dict[str, int]]
    problems: list[Problem]


def survey_classification(data: str, progress: Progress) -> Survey:
    """Survey a classification dataset at any location.

    Args:
        data: A folder or ``SCHEME:LOCATION``.
        progress: Shows the progress over the images.

    Raises:
        UserError: The location does not exist.
    """
    location = find_labels(data)
    sources: dict[str, Source] = {}
    if location.scheme == FOLDER:
        listings, problems = survey_folder(location.path)
        sources = {subset: FolderSource(listing) for subset, listing in listings.items() if listing.names}
    else:
        problems = _shard_problems(location)
        if not problems:
            try:
                train, val = open_location(location)
            except UserError as error:
                problems = [Problem("error", "layout", data, str(error))]
            else:
                sources = {"all": train} if val is None else {"train": train, "val": val}
    with progress(sum(len(source.labels) for source in sources.values())) as advance:
        problems += check_source_images(sources, advance)
    images = {subset: len(source.labels) for subset, source in sources.items()}
    classes = {subset: _count_by_class(source) for subset, source in sources.items()}
    return Survey(images, classes, sort_problems(problems))


def _count_by_class(source: Source) -> dict[str, int]:
    """Return the number of images of each class."""
    counts = Counter(source.labels)
    return {name: counts[label] for label, name in enumerate(source.classes)}


def _shard_problems(location: Location) -> list[Problem]:
    """Return a problem for each damaged local shard."""
    problems = []
    if location.scheme in ("tar", "wds") and "://" not in location.path:
        for shard in expand_shards(location):
            try:
                index_tar(shard)
            except UserError as error:
                problems.append(Problem("error", "damaged shard", shard, str(error)))
    return problems


def survey_detection(data: str) -> Survey:
    """Survey a detection dataset.

    Args:
        data: As of `find_readers`.

    Raises:
        UserError: The folder has an unknown layout.
    """
    classes, problems = {}, []
    subsets: dict[str, InstanceSet] = {}
    for subset, read in find_readers(data).items():
        subsets[subset], wrong = read()
        problems += [*wrong, *check_instances(subsets[subset])]
        many = check_object_counts(subsets[subset], DetectOptions.detections_per_image, MANY_OBJECTS_REMEDY)
        problems += [] if many is None else [many]
        labels = Counter(instance.label for image in subsets[subset].images for instance in image.instances)
        names = subsets[subset].classes
        classes[subset] = {name: labels[label] for label, name in enumerate(names, start=1)}
    problems += find_leaks({subset: found.paths() for subset, found in subsets.items()})
    if not has_errors(problems):
        problems += check_objects(subsets)
    return Survey({subset: len(found) for subset, found in subsets.items()}, classes, sort_problems(problems))


def survey_segmentation(data: str, labels: LabelOptions) -> Survey:
    """Survey a segmentation dataset in ADE20K's or Cityscapes' layout.

    Args:
        data: The folder.
        labels: Meaning of the labels.

    Raises:
        UserError: The folder has neither layout.
    """
    images, classes, problems, paths = {}, {}, [], {}
    for subset in find_segmentation(Path(data)):
        found, wrong = read_subset(Path(data), subset, labels)
        also_wrong, classes[subset] = survey_label_maps(found)
        problems += [*wrong, *also_wrong]
        images[subset], paths[subset] = len(found), found.paths()
    problems += find_leaks(paths)
    return Survey(images, classes, sort_problems(problems))

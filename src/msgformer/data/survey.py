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
from msgformer.data.segmentation.label_maps import LabeledImages
from msgformer.data.segmentation.sets import find_segmentation, read_subset
from msgformer.data.value_checks import dense_values, find_subset_problems
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
    sources, problems = open_sources(find_labels(data))
    with progress(sum(len(source.labels) for source in sources.values())) as advance:
        problems += check_source_images(sources, advance)
    images = {subset: len(source.labels) for subset, source in sources.items()}
    classes = {subset: _count_by_class(source) for subset, source in sources.items()}
    return Survey(images, classes, sort_problems(problems))


def open_sources(location: Location) -> tuple[dict[str, Source], list[Problem]]:
    """Return the images of each subset of a classification dataset, and the problems of its layout.

    Args:
        location: The location.

    Raises:
        UserError: The location does not exist.
    """
    if location.scheme == FOLDER:
        listings, problems = survey_folder(location.path)
        return {subset: FolderSource(listing) for subset, listing in listings.items() if listing.names}, problems
    if problems := _shard_problems(location):
        return {}, problems
    try:
        train, val = open_location(location)
    except UserError as error:
        return {}, [Problem("error", "layout", str(location), str(error))]
    return {"all": train} if val is None else {"train": train, "val": val}, []


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


def survey_detection(data: str, progress: Progress) -> Survey:
    """Survey a detection dataset.

    Args:
        data: As of `find_readers`.
        progress: Shows the progress over the images.

    Raises:
        UserError: The folder has an unknown layout.
    """
    readings = {subset: read() for subset, read in find_readers(data).items()}
    subsets = {subset: found for subset, (found, _) in readings.items()}
    with progress(sum(map(len, subsets.values()))) as advance:
        checks = {subset: check_instances(found, advance=advance) for subset, found in subsets.items()}
    problems = []
    for subset, (_, wrong) in readings.items():
        known = {problem.path for problem in wrong if problem.severity == "error"}  # one problem per missing file
        problems += [*wrong, *(problem for problem in checks[subset] if problem.path not in known)]
    for found in subsets.values():
        many = check_object_counts(found, DetectOptions.detections_per_image, MANY_OBJECTS_REMEDY)
        problems += [] if many is None else [many]
    problems += find_leaks({subset: found.paths() for subset, found in subsets.items()})
    if not has_errors(problems):
        problems += check_objects(subsets)
    classes = {subset: _count_objects(found) for subset, found in subsets.items()}
    values = {subset: dense_values(found) for subset, found in subsets.items()}
    problems += find_subset_problems(values, "detect_images")
    return Survey({subset: len(found) for subset, found in subsets.items()}, classes, sort_problems(problems))


def _count_objects(data: InstanceSet) -> dict[str, int]:
    """Return the number of objects of each class."""
    counts = Counter(instance.label for image in data.images for instance in image.instances)
    return {name: counts[label] for label, name in enumerate(data.classes, start=1)}


def survey_segmentation(data: str, progress: Progress, labels: LabelOptions) -> Survey:
    """Survey a segmentation dataset in ADE20K's or Cityscapes' layout.

    Args:
        data: The folder.
        progress: Shows the progress over the images.
        labels: Meaning of the labels.

    Raises:
        UserError: The folder has neither layout.
    """
    images, classes, problems = {}, {}, []
    readings = read_label_maps(data, labels)
    with progress(sum(len(found) for found, _ in readings.values())) as advance:
        for subset, (found, wrong) in readings.items():
            also_wrong, classes[subset] = survey_label_maps(found, advance)
            problems += [*wrong, *also_wrong]
            images[subset] = len(found)
    problems += find_leaks({subset: found.paths() for subset, (found, _) in readings.items()})
    values = {subset: dense_values(found) for subset, (found, _) in readings.items()}
    problems += find_subset_problems(values, "segment_images")
    return Survey(images, classes, sort_problems(problems))


def read_label_maps(data: str, labels: LabelOptions) -> dict[str, tuple[LabeledImages, list[Problem]]]:
    """Return the images with label maps of each subset, and the problems of their pairs.

    Args:
        data: The folder.
        labels: As of `survey_segmentation`.
    """
    return {subset: read_subset(Path(data), subset, labels) for subset in find_segmentation(Path(data))}

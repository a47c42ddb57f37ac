"""Everything that can be found out about a data set before a training, for every task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from msgformer.config.dense_data_options import ReduceZeroLabel
from msgformer.data.classification.folder_checks import survey_folder
from msgformer.data.classification.image_checks import check_source_images
from msgformer.data.classification.subsets import open_location
from msgformer.data.dense.checks import check_instances, check_label_maps
from msgformer.data.detection.sets import find_readers
from msgformer.data.files.locations import FOLDER, Location, expand_shards, parse_location
from msgformer.data.files.sources import FolderSource, Source
from msgformer.data.files.tars import index_tar
from msgformer.data.problems import Problem, sort_problems
from msgformer.data.segmentation.sets import find_segmentation, read_subset
from msgformer.errors import UserError

Progress = Callable[[int], AbstractContextManager[Callable[[], object]]]
"""Told how many images there are, a context of what is called after each."""


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        images: How many images there are, by subset.
        classes: How many images, or in detection objects, each class has, by subset; empty where it isn't counted.
        problems: Everything that is wrong or odd, the worst first.
    """

    images: dict[str, int]
    classes: dict[str, dict[str, int]]
    problems: list[Problem]


def survey_classification(data: str, progress: Progress) -> Survey:
    """A look at images with a class each, at any location.

    Raises:
        UserError: there is nothing at the location.
    """
    location = parse_location(data)
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
    classes = {
        subset: {name: Counter(source.labels)[label] for label, name in enumerate(source.classes)}
        for subset, source in sources.items()
    }
    return Survey({subset: len(source.labels) for subset, source in sources.items()}, classes, sort_problems(problems))


def _shard_problems(location: Location) -> list[Problem]:
    """Local shards that are damaged."""
    problems = []
    if location.scheme in ("tar", "wds") and "://" not in location.path:
        for shard in expand_shards(location):
            try:
                index_tar(shard)
            except UserError as error:
                problems.append(Problem("error", "damaged shard", shard, str(error)))
    return problems


def survey_detection(data: str) -> Survey:
    """A look at images with annotated objects, in COCO's or Pascal VOC's layout.

    Raises:
        UserError: the folder isn't laid out in either way.
    """
    images, classes, problems = {}, {}, []
    for subset, read in find_readers(Path(data)).items():
        found, wrong = read()
        problems += [*wrong, *check_instances(found)]
        images[subset] = len(found)
        labels = Counter(instance.label for image in found.images for instance in image.instances)
        classes[subset] = {name: labels[label] for label, name in enumerate(found.classes, start=1)}
    return Survey(images, classes, sort_problems(problems))


def survey_segmentation(data: str, *, reduce_zero: ReduceZeroLabel) -> Survey:
    """A look at images with label maps, in ADE20K's or Cityscapes' layout.

    Args:
        data: The folder.
        reduce_zero: Labels count from 1, with 0 for no class; "auto" decides as a training does.

    Raises:
        UserError: the folder isn't laid out in either way.
    """
    images, problems = {}, []
    for subset in find_segmentation(Path(data)):
        found, wrong = read_subset(Path(data), subset, reduce_zero)
        problems += [*wrong, *check_label_maps(found)]
        images[subset] = len(found)
    return Survey(images, {}, sort_problems(problems))

"""Checks of the images and label maps of a detection or segmentation dataset."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from msgformer.data.detection.instances import AnnotatedImage, InstanceSet, size_problem
from msgformer.data.files.images import SIDEWAYS, TURNED, displayed_size, exif_orientation, open_image
from msgformer.data.problems import FULL_CHECK_LIMIT, HEADER_CHECK_LIMIT, Problem
from msgformer.data.segmentation.colors import ColoredMapError
from msgformer.data.segmentation.label_maps import LabeledImages, map_size_problem, read_label_map
from msgformer.data.segmentation.label_statistics import LabelStatistics
from msgformer.errors import UserError

if TYPE_CHECKING:
    import numpy as np

R = TypeVar("R")

Advance = Callable[[], object]
"""Function that is called after each image, to show progress."""


def no_progress() -> None:
    """Show no progress."""


def check_instances(data: InstanceSet, *, whole: bool = True, advance: Advance = no_progress) -> list[Problem]:
    """Find problems of the image files of a detection dataset.

    Args:
        data: The annotated images.
        whole: Whether to decode the images, rather than only their headers.
        advance: Called after each image, to show progress.
    """
    return _find(lambda index: _image_problem(data.images[index], whole), range(len(data)), advance)


def check_objects(subsets: Mapping[str, InstanceSet]) -> list[Problem]:
    """Find subsets without usable objects, and classes that the training images lack.

    Args:
        subsets: The subsets of a data set, such as "train" and "val", or "all".
    """
    problems = []
    for subset, data in subsets.items():
        if not any(image.trainable(with_masks=False) for image in data.images):
            message = "no image has an object to train on or to score: each is a crowd, difficult or without area"
            problems.append(Problem("error", "no object", str(data.root), f"{subset}: {message}; annotate some"))
    train = subsets.get("train")
    for subset, data in subsets.items() if train is not None else ():
        used = {data.classes[one.label - 1] for image in data.images for one in image.instances}
        for name in sorted(used.difference(train.classes if train is not None else ())):
            message = f"class {name!r} has objects in {subset}, but isn't in training; add it there or remove them"
            problems.append(Problem("error", f"class only in {subset}", str(data.root), message))
    return problems


def check_label_maps(data: LabeledImages, *, whole: bool = True) -> list[Problem]:
    """Find problems of the image files and label maps of a segmentation dataset.

    Args:
        data: The labeled images.
        whole: Whether to decode all files; otherwise only headers are read, and unknown labels aren't found.
    """
    if whole:
        return survey_label_maps(data)[0]
    return _survey(data, range(len(data)), (), whole=False)[0]


def survey_label_maps(data: LabeledImages, advance: Advance = no_progress) -> tuple[list[Problem], dict[str, int]]:
    """Find problems of all images and label maps, and count the pixels of each class in the maps without problems.

    Args:
        data: The labeled images.
        advance: Called after each image, to show progress.
    """
    return _survey(data, range(len(data)), range(len(data)), whole=True, advance=advance)


def sample_label_maps(data: LabeledImages) -> list[Problem]:
    """Find problems in a sample of a large segmentation dataset.

    The labels of ``FULL_CHECK_LIMIT`` evenly spread maps are read, and the headers of the other pairs unless there are
    more than ``HEADER_CHECK_LIMIT``.
    """
    count = len(data)
    sample = {place * count // FULL_CHECK_LIMIT for place in range(FULL_CHECK_LIMIT)}
    indices = range(count) if count <= HEADER_CHECK_LIMIT else sorted(sample)
    return _survey(data, indices, sample, whole=False)[0]


def _survey(
    data: LabeledImages,
    indices: Sequence[int],
    with_labels: Container[int],
    *,
    whole: bool,
    advance: Advance = no_progress,
) -> tuple[list[Problem], dict[str, int]]:
    """Check pairs, and read the label maps of some of them."""
    checks = _map(
        lambda index: _check_pair(data, index, whole=whole, read_labels=index in with_labels), indices, advance
    )
    statistics = LabelStatistics(data)
    for one in checks:
        if isinstance(one.problem, ColoredMapError):
            statistics.add_colored(one.problem)
        statistics.add(one.numbers)
    problems = [one.problem for one in checks if isinstance(one.problem, Problem)]
    return problems + ([] if problems else [*statistics.problems()]), statistics.per_class()


def check_instances_quickly(data: InstanceSet) -> list[Problem]:
    """Find problems of the image files of a detection dataset, as far as that is quick."""
    return check_instances(data, whole=len(data) <= FULL_CHECK_LIMIT) if len(data) <= HEADER_CHECK_LIMIT else []


def check_label_maps_quickly(data: LabeledImages) -> list[Problem]:
    """Find problems of the files of a segmentation dataset, as far as that is quick."""
    return check_label_maps(data) if len(data) <= FULL_CHECK_LIMIT else sample_label_maps(data)


class _PairCheck(NamedTuple):
    """Result of checking an image and its label map: a problem, or the number of pixels by number if it was read."""

    problem: Problem | ColoredMapError | None = None
    numbers: Mapping[int, int] = {}


def _map(function: Callable[[int], R], indices: Iterable[int], advance: Advance = no_progress) -> list[R]:
    results = []
    with ThreadPoolExecutor() as pool:  # Pillow's decoders release the lock
        for result in pool.map(function, indices):
            results.append(result)
            advance()
    return results


def _find(
    find: Callable[[int], Problem | None], indices: Iterable[int], advance: Advance = no_progress
) -> list[Problem]:
    return [problem for problem in _map(find, indices, advance) if problem is not None]


def _image_problem(image: AnnotatedImage, whole: bool) -> Problem | None:
    try:
        size, orientation = _size_and_orientation(image.file, whole)
    except UserError as error:
        return Problem("error", "unreadable image", image.file, str(error))
    problem = size_problem(size, image)
    if problem and orientation in SIDEWAYS and not size_problem(size[::-1], image):
        message = "annotated without its EXIF orientation, and used that way"
        return Problem("warning", "EXIF orientation", image.file, message)
    if problem:
        return Problem("error", "size of an image", image.file, problem)
    if orientation in TURNED:
        message = "its EXIF orientation doesn't change its size; it is used as displayed; check that its boxes fit"
        return Problem("warning", "EXIF orientation", image.file, message)
    return None


def _check_pair(data: LabeledImages, index: int, whole: bool, read_labels: bool) -> _PairCheck:
    image, label_map = data.pairs[index]
    try:
        size = _size(image, whole)
    except UserError as error:
        return _PairCheck(Problem("error", "unreadable image", image, str(error)))
    try:
        map_size = _size(label_map, whole=False)
        numbers = read_label_map(label_map, data.scheme.colors) if read_labels else None
    except ColoredMapError as error:
        return _PairCheck(error)
    except UserError as error:
        return _PairCheck(Problem("error", "unreadable label map", label_map, str(error)))
    if problem := map_size_problem(*map_size, size, image):
        return _PairCheck(Problem("error", "size of a label map", label_map, problem))
    return _PairCheck() if numbers is None else _count_labels(data, label_map, numbers)


def _count_labels(data: LabeledImages, label_map: str, numbers: np.ndarray) -> _PairCheck:
    import numpy as np

    if problem := data.scheme.unknown_labels(numbers):
        return _PairCheck(Problem("error", "labels of no class", label_map, problem))
    found, counts = np.unique(numbers, return_counts=True)
    return _PairCheck(numbers=dict(zip(found.tolist(), counts.tolist(), strict=True)))


def _size(path: str, whole: bool) -> tuple[int, int]:
    """Return the displayed width and height of an image file; raises UserError if it can't be read."""
    return _size_and_orientation(path, whole)[0]


def _size_and_orientation(path: str, whole: bool) -> tuple[tuple[int, int], int]:
    """Return the displayed size as of `_size`, and the EXIF orientation."""
    with open_image(path) as image:
        if whole:
            image.load()
        return displayed_size(image), exif_orientation(image)

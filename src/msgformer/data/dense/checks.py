"""Checks of the images and label maps of a detection or segmentation dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgformer.data.detection.instances import AnnotatedImage, InstanceSet, size_problem
from msgformer.data.files.images import displayed_size, open_image
from msgformer.data.problems import FULL_CHECK_LIMIT, HEADER_CHECK_LIMIT, Problem
from msgformer.data.segmentation.label_maps import IGNORED, LabeledImages, map_size_problem, read_label_map
from msgformer.errors import UserError


def check_instances(data: InstanceSet, *, whole: bool = True) -> list[Problem]:
    """Find problems of the image files of a detection dataset.

    Args:
        data: The annotated images.
        whole: Whether to decode the images, rather than only their headers.
    """
    return _check(lambda index: _image_problem(data.images[index], whole), range(len(data)))


def check_label_maps(data: LabeledImages, *, whole: bool = True) -> list[Problem]:
    """Find problems of the image files and label maps of a segmentation dataset.

    Args:
        data: The labeled images.
        whole: Whether to decode all files; otherwise only headers are read, and unknown labels aren't found.
    """
    found = _check(lambda index: _pair_problem(data, index, whole, read_labels=whole), range(len(data)))
    if (
        whole
        and len(data)
        and not found
        and not any((data.labels(index) != IGNORED).any() for index in range(len(data)))
    ):
        where = Path(data.pairs[0][1]).parent
        message = "no pixel of any label map has a class, so that there is nothing to train on or to score"
        found.append(Problem("error", "no labeled pixel", str(where), f"{message}; correct the label maps"))
    return found


def count_pixels(data: LabeledImages) -> dict[str, int]:
    """Return the number of pixels of each class in label maps without problems."""
    import numpy as np

    with ThreadPoolExecutor() as pool:
        counts = pool.map(lambda index: np.bincount(data.labels(index).ravel(), minlength=256), range(len(data)))
        total = sum(counts, start=np.zeros(256, np.int64))
    return {name: int(total[label]) for label, name in enumerate(data.classes)}


def sample_label_maps(data: LabeledImages) -> list[Problem]:
    """Find problems in a sample of a large segmentation dataset.

    The labels of ``FULL_CHECK_LIMIT`` evenly spread maps are read, and the headers of the other pairs unless there are
    more than ``HEADER_CHECK_LIMIT``.
    """
    count = len(data)
    sample = {place * count // FULL_CHECK_LIMIT for place in range(FULL_CHECK_LIMIT)}
    indices = range(count) if count <= HEADER_CHECK_LIMIT else sorted(sample)
    return _check(lambda index: _pair_problem(data, index, whole=False, read_labels=index in sample), indices)


def check_instances_quickly(data: InstanceSet) -> list[Problem]:
    """Find problems of the image files of a detection dataset, as far as that is quick."""
    return check_instances(data, whole=len(data) <= FULL_CHECK_LIMIT) if len(data) <= HEADER_CHECK_LIMIT else []


def check_label_maps_quickly(data: LabeledImages) -> list[Problem]:
    """Find problems of the files of a segmentation dataset, as far as that is quick."""
    return check_label_maps(data) if len(data) <= FULL_CHECK_LIMIT else sample_label_maps(data)


def _check(find: Callable[[int], Problem | None], indices: Iterable[int]) -> list[Problem]:
    with ThreadPoolExecutor() as pool:  # Pillow's decoders release the lock
        return [problem for problem in pool.map(find, indices) if problem is not None]


def _image_problem(image: AnnotatedImage, whole: bool) -> Problem | None:
    try:
        size = _size(image.file, whole)
    except UserError as error:
        return Problem("error", "unreadable image", image.file, str(error))
    problem = size_problem(size, image)
    return Problem("error", "size of an image", image.file, problem) if problem else None


def _pair_problem(data: LabeledImages, index: int, whole: bool, read_labels: bool) -> Problem | None:
    image, label_map = data.pairs[index]
    try:
        size = _size(image, whole)
    except UserError as error:
        return Problem("error", "unreadable image", image, str(error))
    try:
        map_size = _size(label_map, whole=False)
        numbers = read_label_map(label_map) if read_labels else None
    except UserError as error:
        return Problem("error", "unreadable label map", label_map, str(error))
    if problem := map_size_problem(*map_size, size, image):
        return Problem("error", "size of a label map", label_map, problem)
    if numbers is not None and (data.table[numbers] < 0).any():
        return Problem("error", "labels of no class", label_map, data.unknown_labels(numbers))
    return None


def _size(path: str, whole: bool) -> tuple[int, int]:
    """Return the displayed width and height of an image file; raises UserError if it can't be read."""
    with open_image(path) as image:
        if whole:
            image.load()
        return displayed_size(image)

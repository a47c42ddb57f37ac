"""Checks of the pixel values of a dataset: images of more than 8 bits, nearly black and clipped images, channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from msgformer.data.detection.instances import InstanceSet
from msgformer.data.files.images import read_pixel_values
from msgformer.data.files.sources import Source, source_pixel_values
from msgformer.data.files.value_range import (
    PixelValues,
    ValueRange,
    measure_value_range,
    shown_range,
    survey_pixel_values,
)
from msgformer.data.problems import Problem
from msgformer.data.segmentation.label_maps import LabeledImages
from msgformer.errors import UserError

NamedValues = Sequence[tuple[str, PixelValues]]
"""Name and pixel values of each image of a subset."""

BLACK = 1 / 64
"""Images whose largest value is below this fraction of the range are nearly black."""

BLACK_COLOR = 16
"""16-bit color is nearly black if no value reaches this after conversion to 8 bits, as with 12 bits in 16."""


def source_values(source: Source) -> NamedValues:
    """Return the pixel values of a source's images."""
    count = len(source.labels)
    values = survey_pixel_values(lambda index: source_pixel_values(source, index), count)
    return [(source.name(index), values[index]) for index in range(count)]


def dense_values(data: InstanceSet | LabeledImages) -> NamedValues:
    """Return the pixel values of annotated images."""
    paths = data.paths()
    return list(zip(paths, survey_pixel_values(lambda index: read_pixel_values(paths[index]), len(paths)), strict=True))


def choose_value_range(
    given: ValueRange | None, option: str, read: Callable[[], Mapping[str, NamedValues]]
) -> tuple[ValueRange | None, list[str]]:
    """Return the value range of a new training, and messages about the pixel values of its images.

    Args:
        given: Range that the user gives; None to measure it on the training images.
        option: Name of the option, for messages.
        read: Returns the pixel values of the subsets "train" and "val".

    Raises:
        UserError: The given range is empty.
    """
    if given is not None and given[0] == given[1]:
        raise UserError(f"{option} must ascend, not be {given[0]:g} and {given[1]:g}; give two different numbers")
    subsets = read()
    value_range = given or measure_value_range(values for _, values in subsets["train"])
    problems = find_value_problems(subsets, value_range, f"--{option}")
    if given is not None and not any(values.is_wide for named in subsets.values() for _, values in named):
        where = next((name for named in subsets.values() for name, _ in named), "")
        message = f"{option} has no effect on images of 8 bits; leave it out"
        problems.append(Problem("warning", "value range", where, message))
    return value_range, [*summarize_by_kind(problems)]


def find_value_problems(
    subsets: Mapping[str, NamedValues], value_range: ValueRange | None, option: str
) -> list[Problem]:
    """Find problems of the pixel values of a dataset.

    Args:
        subsets: Pixel values by subset.
        value_range: Range that images of more than 8 bits are scaled by; None if there is none in training.
        option: The option that sets the range, for remedies.
    """
    images = [one for named in subsets.values() for one in named]
    problems = [problem for name, values in images for problem in _image_problems(name, values, value_range, option)]
    return [*problems, *_depth_problems(subsets, value_range, option)]


def find_subset_problems(subsets: Mapping[str, NamedValues], group: str) -> list[Problem]:
    """Find problems of pixel values with the range that a training would measure.

    Args:
        subsets: Pixel values by subset.
        group: Group of options that has ``value_range``.
    """
    train = subsets.get("train") or subsets.get("all") or []
    measured = measure_value_range(values for _, values in train)
    return find_value_problems(subsets, measured, f"--{group}.value_range")


def _image_problems(name: str, values: PixelValues, value_range: ValueRange | None, option: str) -> Iterator[Problem]:
    if values.has_extra_channel:
        yield Problem("note", "extra channel", name, "only red, green and blue are used; the others are not alpha")
    if values.kind == "16-bit color":
        yield Problem("note", "16-bit color", name, "only the upper 8 bits of each channel are used")
        if values.high < BLACK_COLOR:
            message = f"no value exceeds {values.high:g} of 255 when read with 8 bits; save it scaled to 8 bits"
            yield Problem("warning", "nearly black image", name, message)
    if not values.is_wide or value_range is None:
        return
    black, white = value_range
    own, used = shown_range((values.low, values.high)), shown_range(value_range)
    if values.high < black + BLACK * (white - black):
        message = f"its values are {own}, in a value range of {used}; remove it, or give {option} '[LOW, HIGH]'"
        yield Problem("warning", "nearly black image", name, message)
    tolerance = 1e-3 * (white - black)
    if values.low < black - tolerance or values.high > white + tolerance:
        message = f"its values {own} are clipped to the value range {used}; remove it, or give a wider {option}"
        yield Problem("warning", "clipped image", name, message)


def _depth_problems(
    subsets: Mapping[str, NamedValues], value_range: ValueRange | None, option: str
) -> Iterator[Problem]:
    images = [one for named in subsets.values() for one in named]
    narrow = [name for name, values in images if not values.is_wide]
    count, where = len(images) - len(narrow), " and ".join(subsets)
    if count and narrow:
        counts = f"{count} images have more than 8 bits, but {len(narrow)}, such as {narrow[0]}, have 8"
        how = "those keep 0..255" if value_range is None else f"the former are scaled by {shown_range(value_range)}"
        yield Problem("warning", "mixed bits", where, f"{counts}; {how}; save all in one format if that differs")
    if count and value_range is not None:
        message = f"{count} images of more than 8 bits are scaled by {shown_range(value_range)} ({option})"
        yield Problem("note", "value range", where, message)


def summarize_by_kind(problems: Sequence[Problem]) -> Iterator[str]:
    """Yield one line per kind of problem, with the number of images and the first of them."""
    for (severity, kind), group in groupby(
        sorted(problems, key=lambda one: (one.severity != "warning", one.kind)), lambda one: (one.severity, one.kind)
    ):
        first, *others = group
        where = f"{first.path} and {len(others)} more images" if others else first.path
        yield f"{severity}: {kind}: {first.message} ({where})"

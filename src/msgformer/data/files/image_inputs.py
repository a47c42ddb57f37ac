"""Inputs of `predict` as one stream: paths, URLs, images in memory, and lists of them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from msgformer.data.files.inputs import ImageInput, check_inputs, find_inputs, is_single
from msgformer.data.files.memory_inputs import DecodedInput, EncodedInput
from msgformer.data.files.pixels import (
    check_array,
    check_tensor,
    image_from_array,
    image_from_pil,
    image_from_tensor,
    is_instance,
)
from msgformer.data.files.value_range import ValueRange
from msgformer.errors import UserError, shown

KINDS = "a path, a URL, a PIL image, a NumPy array, a tensor, bytes, or a list of these"


@dataclass(frozen=True)
class ImageInputs:
    """The images of one call.

    Attributes:
        single: Whether one image was given, rather than a list or something that holds many.
        items: The images in their order; they are found, read and converted lazily.
        total: Number of images; None if it is unknown without a search.
        find: Returns the images with a value range for those in memory.
    """

    single: bool
    items: Iterator[ImageInput]
    total: int | None
    find: Callable[[ValueRange | None], Iterator[ImageInput]]

    def scaled(self, value_range: ValueRange | None) -> ImageInputs:
        """Return the images for a model; must be called before any is taken.

        Args:
            value_range: The model's values of black and white in images of more than 8 bits.
        """
        return replace(self, items=self.find(value_range))


def open_inputs(images: Any) -> ImageInputs:
    """Open the images of a call.

    Args:
        images: One image: the path or http(s) URL of a file, a PIL image, a NumPy array [H, W] or [H, W, C], a tensor
            [C, H, W], or an encoded image as bytes or an open binary file. Or many: a folder, a pattern, a tar file, a
            video, "-" for a list on standard input, an array [B, H, W, C], a tensor [B, C, H, W], or an iterable of
            any of these.

    Raises:
        UserError: A value is not an image. Lists and tuples are checked without reading files; an invalid element of
            another iterable becomes an input that fails to load.
    """
    value = _kind(images)
    if value is not _ITERABLE:
        total = _check(value, "images")
        find = partial(_inputs, value, 1)
        return ImageInputs(total == 1 and not _is_batch(value), find(None), total, find)
    total = None
    if isinstance(images, list | tuple):
        if not images:
            raise UserError("images: the list is empty; give files or folders")
        totals = [_check_element(one, place) for place, one in enumerate(images)]
        known = [one for one in totals if one is not None]
        total = sum(known) if len(known) == len(totals) else None
    find = partial(_stream, images)
    return ImageInputs(False, find(None), total, find)


_ITERABLE = object()
"""Result of `_kind` for an iterable of images."""


def _kind(value: Any) -> Any:
    """Convert a value to a type that `_inputs` accepts, or to `_ITERABLE`; `_check` rejects unknown types later."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, str) or _is_encoded(value):
        return value
    if is_instance(value, "PIL.Image", "Image") or is_instance(value, "torch", "Tensor"):
        return value
    if hasattr(value, "__array__"):  # before iterables, since iterating over an array of any library yields its rows
        import numpy as np

        array = np.asarray(value)
        return _ITERABLE if array.dtype.kind in "OTU" and array.ndim == 1 else array
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        return _ITERABLE
    return value


def _is_batch(value: Any) -> bool:
    return (is_instance(value, "torch", "Tensor") or is_instance(value, "numpy", "ndarray")) and value.ndim == 4


def _is_encoded(value: Any) -> bool:
    return isinstance(value, bytes | bytearray | memoryview) or hasattr(value, "read")


def _check_element(value: Any, place: int) -> int | None:
    """Check the element of a list at `place` as `_check` does, and refuse lists inside lists."""
    name = f"images[{place}]"
    kind = _kind(value)
    if kind is _ITERABLE:
        raise UserError(f"{name}: {shown(type(value).__name__)} inside a list is not an image; give one flat list")
    return _check(kind, name)


def _check(value: Any, name: str) -> int | None:
    """Check one result of `_kind` without reading it, and return its number of images if it is known.

    Raises:
        UserError: The value is not an image and holds none; the message starts with `name`.
    """
    if isinstance(value, str):
        check_inputs([value])
        return 1 if is_single(value) else None
    if is_instance(value, "torch", "Tensor"):
        check_tensor(value, name)
    elif is_instance(value, "numpy", "ndarray"):
        check_array(value, name)
    elif isinstance(value, io.TextIOBase):
        raise UserError(f"{name}: the file is open as text; open it with mode 'rb'")
    elif getattr(value, "closed", False):
        raise UserError(f"{name}: the file is closed; give it open, or its path")
    elif not (_is_encoded(value) or is_instance(value, "PIL.Image", "Image")):
        raise UserError(f"{name}: {shown(type(value).__name__)} is not an image; give {KINDS}")
    return len(value) if _is_batch(value) else 1


def _stream(images: Iterable[Any], value_range: ValueRange | None) -> Iterator[ImageInput]:
    """Yield the inputs of an iterable's elements; an invalid element becomes an input that fails to load."""
    number = 1
    for place, one in enumerate(images):
        try:
            _check_element(one, place)
        except UserError as error:
            name = os.fsdecode(one) if isinstance(one, str | os.PathLike) else f"image {number}"
            found: Iterator[ImageInput] = iter([DecodedInput(name, error=str(error))])
        else:
            found = _inputs(_kind(one), number, value_range)
        for item in found:
            yield item
            number += 1


def _inputs(value: Any, number: int, value_range: ValueRange | None) -> Iterator[ImageInput]:
    """Yield the inputs of a checked value; `number` is the position of the first one."""
    if isinstance(value, str):
        yield from find_inputs([value])
    elif _is_batch(value):
        for position, pixels in enumerate(value, number):
            yield _decoded(pixels, f"image {position}", value_range)
    elif _is_encoded(value):
        yield _encoded(value, f"image {number}")
    else:
        yield _decoded(value, f"image {number}", value_range)


def _decoded(pixels: Any, name: str, value_range: ValueRange | None) -> DecodedInput:
    """Convert at once, since the caller may change the array, or close the file, before a batch is complete."""
    try:
        if is_instance(pixels, "torch", "Tensor"):
            return DecodedInput(name, image_from_tensor(pixels, name, value_range))
        if is_instance(pixels, "numpy", "ndarray"):
            return DecodedInput(name, image_from_array(pixels, name, value_range))
        return DecodedInput(name, image_from_pil(pixels, name, value_range))
    except UserError as error:
        return DecodedInput(name, error=str(error))


def _encoded(source: Any, name: str) -> ImageInput:
    try:
        return EncodedInput(name, bytes(source.read() if hasattr(source, "read") else source))
    except (OSError, TypeError, ValueError) as error:  # closed in the meantime, or a text file
        return DecodedInput(name, error=f"can't read {name} ({shown(error)}); give it open in mode 'rb', or its path")

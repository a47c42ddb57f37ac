"""Range of the pixel values of a dataset whose images have more than 8 bits, so that one scale serves all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, NamedTuple

from msgformer.errors import UserError
from msgformer.utils.spacing import evenly_spaced

if TYPE_CHECKING:
    from PIL import Image

ValueRange = tuple[float, float]
"""Values of black and white in images of more than 8 bits; 8-bit images always have 0 and 255."""

MAX_UNIT = 1 + 1e-3
"""Maximum of float pixels in 0..1, with the tolerance of arrays."""

SAMPLE_SIZE = 5_000
"""If none of this many evenly spread images of a larger dataset has more than 8 bits, the others aren't opened."""

EXTRA_SAMPLES, PHOTOMETRIC, SAMPLES_PER_PIXEL = 338, 262, 277
"""Tags of TIFF."""


class PixelValues(NamedTuple):
    """Pixel values of an image file.

    Attributes:
        kind: Bits and channels; "integer" and "float" are gray images of more than 8 bits.
        low: Smallest value; 0 for images of 8 bits, whose pixels aren't read.
        high: Largest value; of 16-bit color, after its conversion to 8 bits, and 255 for images of 8 bits.
        has_extra_channel: Whether there are further channels that are not alpha, such as near infrared.
    """

    kind: Literal["8 bits", "16-bit color", "integer", "float"]
    low: float = 0.0
    high: float = 255.0
    has_extra_channel: bool = False

    @property
    def is_wide(self) -> bool:
        """Whether the image is gray with more than 8 bits, so that it is scaled by the value range."""
        return self.kind in ("integer", "float")


def is_wide(image: Image.Image) -> bool:
    """Return whether an image is gray with more than 8 bits per pixel."""
    return image.mode.startswith("I") or image.mode == "F"


def has_extra_channel(image: Image.Image) -> bool:
    """Return whether an opened image is a TIFF in RGB with further channels, of which the first is not alpha."""
    tags = getattr(image, "tag_v2", None)
    if image.format != "TIFF" or tags is None or tags.get(PHOTOMETRIC) != 2 or tags.get(SAMPLES_PER_PIXEL, 3) < 4:
        return False
    extra = tags.get(EXTRA_SAMPLES, 0)
    return bool((extra[0] if isinstance(extra, tuple) else extra) == 0)


def pixel_values(image: Image.Image) -> PixelValues:
    """Return the pixel values of an opened image; its pixels are decoded only if it has more than 8 bits."""
    import numpy as np

    extra = has_extra_channel(image)
    if is_wide(image):
        pixels = np.asarray(image)
        finite = pixels[np.isfinite(pixels)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        return PixelValues("float" if image.mode == "F" else "integer", low, high, extra)
    if any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())):  # raw modes such as RGB;16B
        return PixelValues("16-bit color", 0.0, float(np.asarray(image.convert("RGB")).max()), extra)
    return PixelValues("8 bits", has_extra_channel=extra)


def survey_pixel_values(read: Callable[[int], PixelValues], count: int) -> list[PixelValues]:
    """Read the pixel values of images; of a large dataset of 8 bits, only those of a sample.

    Args:
        read: Reads those of one image.
        count: Number of images.

    Returns:
        One value per image; images that can't be read, or aren't, count as images of 8 bits.
    """
    found = dict.fromkeys(range(count), PixelValues("8 bits"))

    def read_all(indices: Sequence[int]) -> None:
        with ThreadPoolExecutor() as pool:  # Pillow's decoders release the lock
            found.update(zip(indices, pool.map(read_one, indices), strict=True))

    def read_one(index: int) -> PixelValues:
        try:
            return read(index)
        except UserError:  # the checks of the images report it
            return PixelValues("8 bits")

    sample = evenly_spaced(count, SAMPLE_SIZE)
    read_all(sample)
    if len(sample) < count and any(found[index] != PixelValues("8 bits") for index in sample):
        read_all(sorted({*range(count)}.difference(sample)))
    return [found[index] for index in range(count)]


def measure_value_range(values: Iterable[PixelValues]) -> ValueRange | None:
    """Return the range of the pixel values of a dataset; None if no image has more than 8 bits.

    Integers from 0 get the smallest number of bits that holds them, at least 8. Floats get 0..1 or 0..255 if they look
    like that; other values the minimum and maximum, rounded outwards.

    Args:
        values: Pixel values of the training images.
    """
    wide = [one for one in values if one.is_wide]
    if not wide:
        return None
    low, high = min(one.low for one in wide), max(one.high for one in wide)
    if any(one.kind == "float" for one in wide) and low > 1 - MAX_UNIT:
        if high <= MAX_UNIT:
            return 0.0, 1.0
        if high <= 255 and high > 255 / 4:
            return 0.0, 255.0
    if low >= 0 and all(one.low.is_integer() and one.high.is_integer() for one in wide):
        return 0.0, 2.0 ** max(8, int(high).bit_length()) - 1
    return _round_outwards(low, high)


def _round_outwards(low: float, high: float) -> ValueRange:
    """Round a range to steps of about a hundredth of it."""
    if low == high:
        return low, low + 1.0
    step = 10.0 ** math.floor(math.log10(high - low) - 1)
    digits = max(0, -round(math.log10(step)))
    return round(math.floor(low / step) * step, digits), round(math.ceil(high / step) * step, digits)


def shown_range(value_range: ValueRange) -> str:
    """Return a range as text, such as ``0..4095``."""
    return "..".join(f"{value:.10g}" for value in value_range)

"""Reading of image files as RGB images, with error messages for unreadable files."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from msgformer.errors import UserError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from PIL import Image

MIN_DRAFT_SIDE = 2048
"""Minimum side in pixels to which a JPEG that exceeds Pillow's size limit is reduced while it is decoded."""

SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations of images that are rotated by 90 degrees."""

TURNED = (2, 3, 4)
"""EXIF orientations of images that are mirrored or rotated by 180 degrees, which keeps their size."""

FULL_SIZE = "full size"
"""Key in an opened image's ``info`` of its width and height in the file, if it is decoded at a smaller scale."""


def read_image(
    file: str | BinaryIO, name: str | None = None, min_side: int = 0, *, upright: bool = True
) -> Image.Image:
    """Read an image file as 8-bit RGB, rotated according to its EXIF orientation.

    Transparent pixels become white, 16-bit gray is scaled to 8 bits, and an animation yields its first frame. A JPEG
    with more pixels than Pillow's safety limit (``2 * PIL.Image.MAX_IMAGE_PIXELS``) is decoded at a smaller scale.

    Args:
        file: A path, or the opened file.
        name: Name for messages; by default the path.
        min_side: Decode a JPEG at 1/2, 1/4 or 1/8 of its size as long as no side is smaller than this number of
            pixels, which is much faster; 0 decodes at full size.
        upright: Whether to rotate the image according to its EXIF orientation.

    Raises:
        UserError: The file can't be read as an image, or has too many pixels; the message names it and the reason.
    """
    from PIL import ImageOps

    with open_image(file, name) as image:
        if min_side and image.mode in ("RGB", "L"):  # draft mode would also convert other color spaces
            image.draft(image.mode, (min_side, min_side))
        image.load()
        return to_rgb(ImageOps.exif_transpose(image) if upright else image)


@contextmanager
def open_image(file: str | BinaryIO, name: str | None = None) -> Iterator[Image.Image]:
    """Open an image file with Pillow, which reads its header; any error inside the block becomes a UserError.

    Args:
        file: A path, or the opened file.
        name: Name for messages; by default the path.

    Raises:
        UserError: As of :func:`read_image`.
    """
    try:
        with _open(file) as image:
            yield image
    except UserError:
        raise
    except Exception as error:  # decoders raise many types of errors for damaged files
        raise unreadable_image(name or str(file), error) from error


def _open(file: str | BinaryIO) -> Image.Image:
    from PIL import Image, JpegImagePlugin

    try:
        return Image.open(file)
    except Image.DecompressionBombError as error:
        if not isinstance(file, str):
            file.seek(0)
        try:
            image = JpegImagePlugin.JpegImageFile(file)
        except SyntaxError:  # not a JPEG: other formats can't be decoded at a smaller scale
            raise error from None
        image.info[FULL_SIZE] = image.size
        image.draft("RGB", (MIN_DRAFT_SIDE, MIN_DRAFT_SIDE))
        return image


def unreadable_image(name: str, error: Exception) -> UserError:
    """Return the error for an image that can't be read.

    Args:
        name: Name of the image.
        error: Error of the decoder.
    """
    from PIL import Image, UnidentifiedImageError

    name = shown(name)
    if isinstance(error, FileNotFoundError):
        return UserError(f"no such image: {name}")
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return UserError(f"image {name} has more than {limit:,} pixels; make it smaller or store it as JPEG")
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    else:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = "not an image"
    kind = "" if name.startswith("image ") else "image "  # images in memory are named "image 3"
    return UserError(f"can't read {kind}{name} ({shown(reason)}); replace or remove it")


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to 8-bit RGB."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        return wide_to_uint8(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def wide_to_uint8(image: Image.Image) -> Image.Image:
    """Scale a gray image with more than 8 bits per pixel to 0..255; Pillow's own conversion would clip it.

    White is 65535 for integers. For floating-point numbers it is 1, 255 or 65535, the smallest that no pixel exceeds.
    """
    import numpy as np
    from PIL import Image

    pixels = np.nan_to_num(np.asarray(image).astype(np.float64))
    white = 65535.0
    if image.mode == "F":
        white = next((limit for limit in (1.0, 255.0) if pixels.max() <= limit), white)
    return Image.fromarray(scale_to_uint8(pixels, white))


def scale_to_uint8(pixels: np.ndarray, white: float) -> np.ndarray:
    """Scale pixels to uint8 in 0..255, rounded; values outside the range are clipped.

    Args:
        pixels: The pixels, of any shape.
        white: Value of white.
    """
    return (pixels.clip(0, white) * (255 / white)).round().astype("uint8")


def displayed_size(image: Image.Image) -> tuple[int, int]:
    """Return the width and height of an opened image, rotated according to its EXIF orientation."""
    return image.size[::-1] if exif_orientation(image) in SIDEWAYS else image.size


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened image, 1 to 8; 1 if it has none."""
    from PIL.ExifTags import Base

    if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode the whole file to find the tag
        return 1
    return int(image.getexif().get(Base.Orientation, 1))


def load_reduced(image: Image.Image) -> None:
    """Decode an opened image for a check; a JPEG at 1/8 of its size, which still reads the whole file."""
    image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
    image.load()


def probe(file: str | BinaryIO, name: str | None = None, *, whole: bool) -> UserError | None:
    """Return the error of reading an image file, or None.

    Args:
        file: A path, or the opened file.
        name: Name for messages; by default the path.
        whole: Whether to decode the pixels; a JPEG is decoded at 1/8 of its size, which still reads the whole file.
    """
    try:
        with open_image(file, name) as image:
            if whole:
                load_reduced(image)
    except UserError as error:
        return error
    return None

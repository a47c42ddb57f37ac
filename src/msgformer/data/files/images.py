"""Image files as RGB images, and what is wrong with those that can't be read."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from msgformer.errors import UserError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from PIL import Image

MIN_DRAFT_SIDE = 2048
"""A JPEG too large to be decoded whole is decoded at a half, quarter or eighth, but no side below so many pixels."""

FULL_SIZE = "full size"
"""Under this name an opened image's ``info`` has its width and height in the file, if it is decoded smaller."""


def read_image(file: str | BinaryIO, name: str | None = None, min_side: int = 0) -> Image.Image:
    """An encoded image in 8-bit RGB, turned as its EXIF orientation says.

    Transparent pixels become white, 16-bit gray is scaled to 8 bits, and of an animation the first frame is taken. A
    JPEG of more pixels than Pillow takes for safety (``2 * PIL.Image.MAX_IMAGE_PIXELS``) is decoded at a smaller scale.

    Args:
        file: A path, or the opened file.
        name: What to call it in messages; by default the path.
        min_side: Decode a JPEG at a half, a quarter or an eighth of its size as long as no side falls below so many
            pixels, which is much faster; 0: decode all.

    Raises:
        UserError: the file can't be read as an image, or has too many pixels; names it and what is wrong.
    """
    from PIL import ImageOps

    with open_image(file, name) as image:
        if min_side and image.mode in ("RGB", "L"):  # of other colors, drafting would change more than the size
            image.draft(image.mode, (min_side, min_side))
        image.load()
        return to_rgb(ImageOps.exif_transpose(image))


@contextmanager
def open_image(file: str | BinaryIO, name: str | None = None) -> Iterator[Image.Image]:
    """Pillow's image of an encoded file inside the block, its header read; errors of the block are about that file.

    The arguments and errors are those of :func:`read_image`.
    """
    try:
        with _open(file) as image:
            yield image
    except UserError:
        raise
    except Exception as error:  # decoders raise whatever a damaged file leads to
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
        except SyntaxError:  # no JPEG: nothing but all of it can be decoded
            raise error from None
        image.info[FULL_SIZE] = image.size
        image.draft("RGB", (MIN_DRAFT_SIDE, MIN_DRAFT_SIDE))
        return image


def unreadable_image(name: str, error: Exception) -> UserError:
    """The one line to say when the image called ``name`` can't be read."""
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
    kind = "" if name.startswith("image ") else "image "  # "image 3" is the third of those in memory
    return UserError(f"can't read {kind}{name} ({shown(reason)}); replace or remove it")


def to_rgb(image: Image.Image) -> Image.Image:
    """``image`` in 8-bit RGB."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        return wide_to_uint8(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def wide_to_uint8(image: Image.Image) -> Image.Image:
    """A gray image of wide pixels brought to 0..255; Pillow itself would clip it.

    Integers reach from 0 to 65535. Floating-point numbers do, too, unless none is above 1 or above 255: then that is
    white.
    """
    import numpy as np
    from PIL import Image

    pixels = np.nan_to_num(np.asarray(image).astype(np.float64))
    white = 65535.0
    if image.mode == "F":
        white = next((limit for limit in (1.0, 255.0) if pixels.max() <= limit), white)
    return Image.fromarray(scale_to_uint8(pixels, white))


def scale_to_uint8(pixels: np.ndarray, white: float) -> np.ndarray:
    """Scale pixels from 0..``white`` to uint8 in 0..255, rounded; values outside are clipped."""
    return (pixels.clip(0, white) * (255 / white)).round().astype("uint8")


def probe(file: str | BinaryIO, name: str | None = None, *, whole: bool) -> UserError | None:
    """What is wrong with an encoded image, or None.

    Args:
        file: A path, or the opened file.
        name: What to call it in messages; by default the path.
        whole: Decode all of it; a JPEG at an eighth of its size, which still reads the file to its end.
    """
    try:
        with open_image(file, name) as image:
            if whole:
                image.draft("RGB", (image.width // 8, image.height // 8))
                image.load()
    except UserError as error:
        return error
    return None

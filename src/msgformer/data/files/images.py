"""Reading of image files as RGB images, with error messages for unreadable files."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from msgformer.data.files.value_range import PixelValues, ValueRange, has_extra_channel, is_wide, pixel_values
from msgformer.errors import UserError, shown
from msgformer.utils.packages import require_package

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

HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""Brands in the header of HEIC and HEIF files."""

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of TIFF and BigTIFF files."""

FULL_SIZE = "full size"
"""Key in an opened image's ``info`` of its width and height in the file, if it is decoded at a smaller scale."""


def read_image(
    file: str | BinaryIO,
    name: str | None = None,
    min_side: int = 0,
    *,
    upright: bool = True,
    value_range: ValueRange | None = None,
) -> Image.Image:
    """Read an image file as 8-bit RGB, rotated according to its EXIF orientation.

    Transparent pixels become white, gray of more than 8 bits is scaled to 8, and an animation yields its first frame.
    A JPEG with more pixels than Pillow's safety limit (``2 * PIL.Image.MAX_IMAGE_PIXELS``) is decoded at a smaller
    scale.

    Args:
        file: A path, or the opened file.
        name: Name for messages; by default the path.
        min_side: Decode a JPEG at 1/2, 1/4 or 1/8 of its size as long as no side is smaller than this number of
            pixels, which is much faster; 0 decodes at full size.
        upright: Whether to rotate the image according to its EXIF orientation.
        value_range: Values of black and white in gray images of more than 8 bits, those of the dataset that a model
            was trained on; by default as of `wide_to_uint8`.

    Raises:
        UserError: The file can't be read as an image, or has too many pixels; the message names it and the reason.
    """
    from PIL import ImageOps

    with open_image(file, name) as image:
        if min_side and image.mode in ("RGB", "L"):  # draft mode would also convert other color spaces
            image.draft(image.mode, (min_side, min_side))
        image.load()
        rotated = ImageOps.exif_transpose(image) if upright else image
        return to_rgb(without_extra_channel(rotated, image), value_range)


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
        with _open(file, name or str(file)) as image:
            yield image
    except UserError:
        raise
    except Exception as error:  # decoders raise many types of errors for damaged files
        raise unreadable_image(name or str(file), error) from error


def _open(file: str | BinaryIO, name: str) -> Image.Image:
    from PIL import Image, JpegImagePlugin, UnidentifiedImageError

    try:
        return Image.open(file)
    except UnidentifiedImageError:
        header = _read_header(file)
        if header.startswith(TIFF_MAGIC):
            raise UserError(
                f"can't read image {shown(name)} (a damaged TIFF, or one with channels or a layout that Pillow doesn't"
                " know); save its red, green and blue channels as RGB, or remove it"
            ) from None
        if header[4:8] != b"ftyp" or header[8:12] not in HEIF_BRANDS:
            raise
        _register_heif(name)
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


def _read_header(file: str | BinaryIO) -> bytes:
    """Return the first 12 bytes of a file; leaves an opened file at its start."""
    if isinstance(file, str):
        with Path(file).open("rb") as opened:
            return opened.read(12)
    file.seek(0)
    header = file.read(12)
    file.seek(0)
    return header


def _register_heif(name: str) -> None:
    """Let Pillow read HEIC; raises UserError with the name of the image and of the extra if that isn't installed."""
    require_package("pillow_heif", "heic", f"can't read image {shown(name)}: HEIC")
    from pillow_heif import register_heif_opener

    register_heif_opener()


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


def without_extra_channel(image: Image.Image, opened: Image.Image) -> Image.Image:
    """Return an image without a fourth channel that isn't alpha, such as near infrared.

    Args:
        image: The image, or a rotated copy.
        opened: The image as opened, with the tags of its file.
    """
    return image.convert("RGB") if image.mode == "RGBA" and has_extra_channel(opened) else image


def to_rgb(image: Image.Image, value_range: ValueRange | None = None) -> Image.Image:
    """Convert an image to 8-bit RGB.

    Args:
        image: The image.
        value_range: As of `wide_to_uint8`.
    """
    from PIL import Image

    if is_wide(image):
        return wide_to_uint8(image, value_range).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def wide_to_uint8(image: Image.Image, value_range: ValueRange | None = None) -> Image.Image:
    """Scale a gray image with more than 8 bits per pixel to 0..255; Pillow's own conversion would clip it.

    Args:
        image: The image.
        value_range: Values of black and white. By default black is 0 and white is 65535 for integers; for
            floating-point numbers it is 1, 255 or 65535, the smallest that no pixel exceeds.
    """
    import numpy as np
    from PIL import Image

    black, white = value_range or (0.0, 65535.0)
    pixels = np.nan_to_num(np.asarray(image).astype(np.float64), nan=black)
    if value_range is None and image.mode == "F":
        white = next((limit for limit in (1.0, 255.0) if pixels.max() <= limit), white)
    return Image.fromarray(scale_to_uint8(pixels, white, black))


def scale_to_uint8(pixels: np.ndarray, white: float, black: float = 0.0) -> np.ndarray:
    """Scale pixels to uint8 in 0..255, rounded; values outside the range are clipped.

    Args:
        pixels: The pixels, of any shape.
        white: Value of white.
        black: Value of black.
    """
    shifted = pixels.clip(black, white) if black == 0 else pixels.clip(black, white) - black
    return (shifted * (255 / (white - black))).round().astype("uint8")


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


def read_pixel_values(file: str | BinaryIO, name: str | None = None) -> PixelValues:
    """Read the header of an image file, and its pixels only if it has more than 8 bits.

    Args:
        file: A path, or the opened file.
        name: Name for messages; by default the path.

    Raises:
        UserError: The file can't be read as an image.
    """
    with open_image(file, name) as image:
        return pixel_values(image)


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

"""Image files as RGB pictures, and a check that they can be read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from msgformer.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

FULL_CHECK_LIMIT = 5_000
"""Up to so many images are decoded whole before a training starts; of more, only the headers are read."""

HEADER_CHECK_LIMIT = 100_000
"""Above so many images nothing is read beforehand: over a network it would take longer than an epoch's surprise."""


def read_image(path: str) -> Image.Image:
    """The image at ``path`` in 8-bit RGB, turned as its EXIF orientation says.

    Transparent pixels become white, 16-bit grey is scaled to 8 bits, and of an animation the first frame is taken.

    Raises:
        UserError: the file can't be read as an image; names it and what is wrong.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image.load()
            return to_rgb(ImageOps.exif_transpose(image))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise unreadable(path, error) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """``image`` in 8-bit RGB."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        return sixteen_bits_to_eight(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def sixteen_bits_to_eight(image: Image.Image) -> Image.Image:
    """A grey image of wide pixels with 0..65535 brought to 0..255; Pillow itself would clip it."""
    import numpy as np
    from PIL import Image

    return Image.fromarray((np.asarray(image).astype(np.float64).clip(0, 65535) / 257).round().astype(np.uint8))


def unreadable(path: str, error: Exception) -> UserError:
    """The one line to say when ``path`` can't be read as an image."""
    from PIL import UnidentifiedImageError

    if isinstance(error, FileNotFoundError):
        return UserError(f"no such image: {path}")
    reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error).strip().rstrip(".")
    return UserError(f"can't read image {path} ({reason}); replace or remove it")


def probe(path: str, *, whole: bool) -> UserError | None:
    """What is wrong with the image at ``path``, or None.

    Args:
        path: An image file.
        whole: Decode all of it; a JPEG at an eighth of its size, which still reads the file to its end.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if whole:
                image.draft("RGB", (image.width // 8, image.height // 8))
                image.load()
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        return unreadable(path, error)
    return None


def check_images(paths: list[str]) -> None:
    """Make sure before a training that its images can be read, as far as that is quick.

    Raises:
        UserError: names the first image that can't be read, and how many others there are.
    """
    if len(paths) > HEADER_CHECK_LIMIT:
        return
    whole = len(paths) <= FULL_CHECK_LIMIT
    with ThreadPoolExecutor() as pool:  # Pillow's decoders release the lock
        problems = [problem for problem in pool.map(lambda path: probe(path, whole=whole), paths) if problem]
    if problems:
        more = f" ({len(problems) - 1} more like it)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{more}")

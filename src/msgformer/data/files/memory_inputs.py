"""Inputs whose images are in memory: decoded (arrays, tensors, PIL images, video frames) or encoded (bytes)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

from msgformer.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

    from msgformer.data.files.value_range import ValueRange


class DecodedInput(NamedTuple):
    """A decoded image, or the error that prevented decoding.

    Attributes:
        name: Name of the image: "image 1" by its position, or a video's path and the number of the frame.
        image: The image in RGB; None if there is an error.
        error: Error message; None if there is an image.
    """

    name: str
    image: Image.Image | None = None
    error: str | None = None

    @property
    def carries_pixels(self) -> bool:
        """Return True, since the input holds the decoded image."""
        return True

    def reference(self) -> DecodedInput:
        """Return the input itself, since its pixels are stored nowhere else."""
        return self

    def load(self, min_side: int = 0, value_range: object = None) -> Image.Image:  # noqa: ARG002  (for files only)
        """Return the image in RGB.

        Args:
            min_side: Unused, since the image is already decoded.
            value_range: Unused, since the image is already in RGB.

        Raises:
            UserError: There is no image.
        """
        if self.image is None:
            raise UserError(self.error or f"{self.name} has no pixels")
        return self.image


class EncodedInput(NamedTuple):
    """The content of an image file.

    Attributes:
        name: Name of the image: "image 1" by its position.
        content: The bytes of a JPEG, PNG or another format that Pillow reads.
    """

    name: str
    content: bytes

    @property
    def carries_pixels(self) -> bool:
        """Return False, since the input holds only the encoded file."""
        return False

    def reference(self) -> EncodedInput:
        """Return the input itself, which carries no pixels."""
        return self

    def load(self, min_side: int = 0, value_range: ValueRange | None = None) -> Image.Image:
        """Decode the image in RGB.

        Args:
            min_side: Minimum side in pixels at which a JPEG may be decoded; 0 for its full size only.
            value_range: Values of black and white in images of more than 8 bits, as of `read_image`.

        Raises:
            UserError: The image can't be decoded.
        """
        from msgformer.data.files.images import read_image

        return read_image(io.BytesIO(self.content), self.name, min_side, value_range=value_range)

"""Inputs whose images are in memory: decoded (arrays, tensors, PIL images, video frames) or encoded (bytes)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

from msgformer.errors import UserError

if TYPE_CHECKING:
    from PIL import Image


class DecodedInput(NamedTuple):
    """An image that is decoded already, or the reason why it can't be.

    Attributes:
        name: What it is called: "image 1" by its position, or a video's path and the number of the frame.
        image: The image in RGB; None where there is an error.
        error: The line that says why there is no image.
    """

    name: str
    image: Image.Image | None = None
    error: str | None = None

    @property
    def carries_pixels(self) -> bool:
        """Decoded images are pickled to the workers whole; encoded ones are small."""
        return True

    def reference(self) -> DecodedInput:
        """The input itself: its pixels are nowhere else."""
        return self

    def load(self, least_side: int = 0) -> Image.Image:  # noqa: ARG002  (for files only)
        """The image in RGB.

        Raises:
            UserError: There is none.
        """
        if self.image is None:
            raise UserError(self.error or f"{self.name} has no pixels")
        return self.image


class EncodedInput(NamedTuple):
    """The content of an image file.

    Attributes:
        name: What it is called: "image 1" by its position.
        content: The bytes of a JPEG, PNG or another format that Pillow reads.
    """

    name: str
    content: bytes

    @property
    def carries_pixels(self) -> bool:
        """Decoded images are pickled to the workers whole; encoded ones are small."""
        return False

    def reference(self) -> EncodedInput:
        """The input itself, which carries no pixels."""
        return self

    def load(self, least_side: int = 0) -> Image.Image:
        """Decode the image in RGB.

        Raises:
            UserError: It can't be decoded.
        """
        from msgformer.data.images import read_image

        return read_image(io.BytesIO(self.content), self.name, least_side)

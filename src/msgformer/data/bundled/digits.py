"""Handwritten digits of scikit-learn: 1,797 real scans of 8 x 8 pixels in 17 shades of gray.

They are the test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (UCI).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from msgformer.errors import UserError

NAME = "digits"
"""Name of the data of a run that has no data folder."""

WHITE = 16
"""Pixel value of white in scikit-learn's scans."""


class DigitsSource:
    """Image source of digits, as small RGB images.

    Args:
        indices: Indices of the digits in scikit-learn's data; all 1,797 by default.
    """

    classes: tuple[str, ...] = tuple("0123456789")

    def __init__(self, indices: list[int] | None = None) -> None:
        from sklearn.datasets import load_digits

        data = load_digits()
        self.indices = list(range(len(data.target))) if indices is None else indices
        self.labels: tuple[int, ...] = tuple(data.target[self.indices].tolist())
        self._pixels = (data.images[self.indices] * (255 / WHITE)).round().astype("uint8")  # [N, 8, 8]

    def name(self, index: int) -> str:
        """Return the name of an image by its index in scikit-learn's data, such as ``digit-0042``."""
        return f"digit-{self.indices[index]:04d}"

    def load(self, index: int, min_side: int = 0, value_range: object = None) -> Image.Image:  # noqa: ARG002
        """Return an image of 8 x 8 pixels, light strokes on black.

        Args:
            index: Index of the image.
            min_side: Unused, since the images are not decoded.
            value_range: Unused, since the images have 8 bits.
        """
        from PIL import Image

        return Image.fromarray(self._pixels[index]).convert("RGB")

    def probe(self, index: int, *, whole: bool) -> UserError | None:  # noqa: ARG002
        """Return None, since images in memory are always readable.

        Args:
            index: Index of the image.
            whole: Unused.
        """
        return None

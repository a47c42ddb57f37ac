"""Handwritten digits that come with scikit-learn: 1,797 real scans of 8 x 8 pixels in 17 shades of gray.

They are the test set of the "Optical Recognition of Handwritten Digits" data of E. Alpaydin and C. Kaynak (UCI).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from msgformer.errors import UserError

NAME = "digits"
"""What a run without a data folder calls its data."""

WHITE = 16


class DigitsSource:
    """Some of the digits, as small RGB images.

    Args:
        indices: Which of the 1,797; all by default.
    """

    classes: tuple[str, ...] = tuple("0123456789")

    def __init__(self, indices: list[int] | None = None) -> None:
        from sklearn.datasets import load_digits

        data = load_digits()
        self.indices = list(range(len(data.target))) if indices is None else indices
        self.labels: tuple[int, ...] = tuple(data.target[self.indices].tolist())
        self._pixels = (data.images[self.indices] * (255 / WHITE)).round().astype("uint8")  # [N, 8, 8]

    def name(self, index: int) -> str:
        """``digit-0042``, by its place among the 1,797."""
        return f"digit-{self.indices[index]:04d}"

    def load(self, index: int, min_side: int = 0) -> Image.Image:  # noqa: ARG002
        """Image ``index``, 8 x 8, light strokes on black."""
        from PIL import Image

        return Image.fromarray(self._pixels[index]).convert("RGB")

    def probe(self, index: int, *, whole: bool) -> UserError | None:  # noqa: ARG002
        """None: the images are numbers in memory, of which none can be unreadable."""
        return None

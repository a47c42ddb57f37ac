"""Images whose class no single part reveals: two real handwritten digits far apart, either equal or different.

The digits are scikit-learn's scans. Each image is a function of (subset, index), and no scan is in both subsets.
A model that scores each quarter of an image separately and adds up the scores must misjudge one of the four pairs of
digits, at best the rarest one. Its accuracy is therefore at most 84 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgformer.data.bundled.digits import WHITE
from msgformer.utils.seeding import derive

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from msgformer.errors import UserError

    Array = np.ndarray

Subset = Literal["train", "val"]

SIDE = 64
"""Side of an image in pixels; each digit lies within a quarter of the image."""

SHARES = {0: 0.6, 1: 0.4}
"""Probability of each digit. If they were equal, training would get no initial signal from a single digit."""

SIZE = (22, 30)
"""Minimum and maximum side in pixels to which a scan of 8 x 8 with a border of one pixel is enlarged."""

MAX_ROTATION = 12.0
"""Maximum rotation of a digit in degrees, in both directions."""

NUM_IMAGES: dict[Subset, int] = {"train": 4000, "val": 1000}
"""Number of images per subset."""

_TRAIN_SHARE = 0.8  # of the scans


class PairsSource:
    """Image source of one subset, light strokes on black; 52 % of the pairs are equal digits.

    Args:
        subset: "train" or "val".
    """

    classes: tuple[str, ...] = ("different", "same")

    def __init__(self, subset: Subset) -> None:
        import numpy as np
        from sklearn.datasets import load_digits

        data = load_digits()
        self.subset: Subset = subset
        self._number = [*NUM_IMAGES].index(subset)
        rng = np.random.default_rng(derive(0, self._number))
        self._digits = rng.choice([*SHARES], (NUM_IMAGES[subset], 2), p=[*SHARES.values()])
        self.labels: tuple[int, ...] = tuple((self._digits[:, 0] == self._digits[:, 1]).astype(int).tolist())
        self._scans = {digit: _subset_scans(data.images[data.target == digit], digit, subset) for digit in SHARES}

    def name(self, index: int) -> str:
        """Return the name of an image by its subset and index, such as ``train-0042``."""
        return f"{self.subset}-{index:04d}"

    def load(self, index: int, min_side: int = 0, value_range: object = None) -> Image.Image:  # noqa: ARG002
        """Compose an image of 64 x 64 pixels.

        Args:
            index: Index of the image.
            min_side: Unused, since the images are not decoded.
            value_range: Unused, since the images have 8 bits.
        """
        import numpy as np
        from PIL import Image

        rng = np.random.default_rng(derive(0, self._number, index))
        canvas = np.zeros((SIDE, SIDE), dtype=np.uint8)
        for digit, quarter in zip(self._digits[index].tolist(), rng.permutation(4)[:2].tolist(), strict=True):
            self._paste(canvas, rng, digit, divmod(quarter, 2))
        return Image.fromarray(canvas).convert("RGB")

    def probe(self, index: int, *, whole: bool) -> UserError | None:  # noqa: ARG002
        """Return None, since composed images are always readable.

        Args:
            index: Index of the image.
            whole: Unused.
        """
        return None

    def _paste(self, canvas: Array, rng: Any, digit: int, quarter: tuple[int, int]) -> None:
        """Paste a random scan of a digit at a random place in a quarter, given by its row and column."""
        scans = self._scans[digit]
        stroke = _stroke(scans[rng.integers(len(scans))], int(rng.integers(SIZE[0], SIZE[1] + 1)), rng)
        free = SIDE // 2 - len(stroke)
        row, col = (SIDE // 2 * part + int(rng.integers(free + 1)) for part in quarter)
        canvas[row : row + len(stroke), col : col + len(stroke)] = stroke


def _subset_scans(scans: Array, digit: int, subset: Subset) -> Array:
    """Return a subset's scans of one digit [n, 8, 8]."""
    import numpy as np

    order = np.random.default_rng(derive(0, digit)).permutation(len(scans))
    count = round(_TRAIN_SHARE * len(order))
    return scans[order[:count] if subset == "train" else order[count:]]


def _stroke(scan: Array, side: int, rng: Any) -> Array:
    """Enlarge a scan [8, 8] with an empty border to a square of ``side`` pixels, and rotate it at random."""
    import numpy as np
    from PIL import Image

    padded = np.pad(scan * (255 / WHITE), 1).round().astype(np.uint8)
    image = Image.fromarray(padded).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image.rotate(float(rng.uniform(-MAX_ROTATION, MAX_ROTATION)), Image.Resampling.BICUBIC))

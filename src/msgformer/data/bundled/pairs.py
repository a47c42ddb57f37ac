"""Images of which no part tells the class: two real handwritten digits far apart, which are the same or not.

The digits are scikit-learn's scans. Each image is a function of (subset, index), and no scan is in both subsets.
Whatever looks at quarters of an image and adds up what it finds in each is wrong about one of the four pairs of digits
in each two quarters, at best about the rarest: it is right in 84 % of all cases at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgformer.utils.seeding import derive

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from msgformer.errors import UserError

    Array = np.ndarray

Subset = Literal["train", "val"]

SIDE = 64
"""Pixels of an image's side; each digit lies within a quarter."""

SHARES = {0: 0.6, 1: 0.4}
"""Which digits there are, and how often: if they were equally frequent, one alone would tell nothing to begin with."""

SIZE = (22, 30)
"""Smallest and largest side, in pixels, that a scan of 8 x 8 with a pixel around it is enlarged to."""

MAX_ROTATION = 12.0
"""Most degrees that a digit is turned by, either way."""

NUM_IMAGES: dict[Subset, int] = {"train": 4000, "val": 1000}
"""Images a subset."""

_TRAIN_SHARE = 0.8  # of the scans
_WHITE = 16


class PairsSource:
    """The images of one subset, light strokes on black; 52 % of the pairs are the same.

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
        """``train-0042``, by its subset and place in it."""
        return f"{self.subset}-{index:04d}"

    def load(self, index: int, min_side: int = 0) -> Image.Image:  # noqa: ARG002
        """Image ``index``, 64 x 64."""
        import numpy as np
        from PIL import Image

        rng = np.random.default_rng(derive(0, self._number, index))
        canvas = np.zeros((SIDE, SIDE), dtype=np.uint8)
        for digit, quarter in zip(self._digits[index].tolist(), rng.permutation(4)[:2].tolist(), strict=True):
            self._paste(canvas, rng, digit, divmod(quarter, 2))
        return Image.fromarray(canvas).convert("RGB")

    def probe(self, index: int, *, whole: bool) -> UserError | None:  # noqa: ARG002
        """None: the images are made of numbers in memory, of which none can be unreadable."""
        return None

    def _paste(self, canvas: Array, rng: Any, digit: int, quarter: tuple[int, int]) -> None:
        """A random scan of a digit anywhere in a quarter, which is given by its row and column."""
        scans = self._scans[digit]
        stroke = _stroke(scans[rng.integers(len(scans))], int(rng.integers(SIZE[0], SIZE[1] + 1)), rng)
        free = SIDE // 2 - len(stroke)
        row, col = (SIDE // 2 * part + int(rng.integers(free + 1)) for part in quarter)
        canvas[row : row + len(stroke), col : col + len(stroke)] = stroke


def _subset_scans(scans: Array, digit: int, subset: Subset) -> Array:
    """A subset's scans of one digit, [n, 8, 8]."""
    import numpy as np

    order = np.random.default_rng(derive(0, digit)).permutation(len(scans))
    count = round(_TRAIN_SHARE * len(order))
    return scans[order[:count] if subset == "train" else order[count:]]


def _stroke(scan: Array, side: int, rng: Any) -> Array:
    """A scan [8, 8] enlarged to a square of ``side`` pixels, an empty border included, and turned at random."""
    import numpy as np
    from PIL import Image

    padded = np.pad(scan * (255 / _WHITE), 1).round().astype(np.uint8)
    image = Image.fromarray(padded).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image.rotate(float(rng.uniform(-MAX_ROTATION, MAX_ROTATION)), Image.Resampling.BICUBIC))

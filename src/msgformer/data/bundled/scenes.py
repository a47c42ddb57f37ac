"""Scenes to detect and segment on a fresh machine: real handwritten digits pasted on real photographs.

The digits are scikit-learn's 1,797 scans, the photographs those that scikit-learn and scikit-image bring along. Each
scene is a function of (seed, subset, index); no digit and no photograph is in both subsets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from msgformer.utils.seeding import derive

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array = np.ndarray

Subset = Literal["train", "val"]

SIDE = 256
"""Pixels of a scene's side."""

NUM_DIGITS = (4, 12)
"""Fewest and most digits in a scene."""

SIZE = (14, 96)
"""Smallest and largest side, in pixels, that a scan of 8 x 8 is enlarged to; its logarithm is uniform."""

MAX_ROTATION = 15.0
"""Most degrees that a digit is turned by, either way."""

MAX_COVERED = 0.3
"""Largest part of a digit's pixels that other digits may cover."""

CLASSES = tuple("0123456789")

SUBSETS: tuple[Subset, ...] = ("train", "val")

PHOTOGRAPHS: dict[Subset, tuple[str, ...]] = {
    "train": ("china.jpg", "chelsea", "coffee", "motorcycle", "brick", "gravel", "camera"),
    "val": ("flower.jpg", "astronaut", "rocket", "grass"),
}
"""Names in scikit-learn (those with an ending) and in ``skimage.data``."""

_TRAIN_SHARE = 0.8  # of the digits
_MARGIN = 1  # empty pixels around a scan, so that strokes at its border are not cut
_EDGE = 3.0  # how much steeper a stroke's edge gets by pasting
_CONTRAST = 0.35  # least difference in brightness between a digit and what it covers, 0..1
_TRIES = 60  # places tried for a digit before it is made smaller
_SMALLEST_CROP = 160  # side of the part of a photograph that becomes a scene's background


@dataclass(frozen=True)
class Scene:
    """An image, and which digit each of its pixels belongs to.

    Attributes:
        image: RGB, uint8 [SIDE, SIDE, 3].
        owner: int [SIDE, SIDE]: index into ``labels`` of the digit seen at each pixel, -1 on the photograph.
        labels: The digits, 0..9, those pasted later above those before.
        areas: Pixels of each digit, with those that others cover.
    """

    image: Array
    owner: Array
    labels: tuple[int, ...]
    areas: tuple[int, ...]

    def masks(self) -> Array:
        """What is seen of each digit, bool [N, SIDE, SIDE]."""
        import numpy as np

        return self.owner[None] == np.arange(len(self.labels))[:, None, None]

    def boxes(self) -> list[tuple[int, int, int, int]]:
        """The smallest box ``x y width height`` around what is seen of each digit, in pixels."""
        found = []
        for mask in self.masks():
            rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
            x, y = int(columns[0]), int(rows[0])
            found.append((x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y))
        return found

    def classes(self) -> Array:
        """The class map, uint8 [SIDE, SIDE]: 0 on the photograph, digit d as 1 + d."""
        import numpy as np

        table = np.array([label + 1 for label in self.labels] + [0], dtype=np.uint8)
        return table[self.owner]  # -1 is the last entry


class SceneMaker:
    """Composes the scenes of one subset.

    Args:
        subset: "train" or "val".
        seed: What the scenes and the split of the digits follow from.
    """

    def __init__(self, subset: Subset, seed: int = 0) -> None:
        from sklearn.datasets import load_digits

        self.seed = seed
        self.number = SUBSETS.index(subset)
        self.photographs = [load_photograph(name) for name in PHOTOGRAPHS[subset]]
        self.digits = split_digits(seed)[self.number]
        self.scans = load_digits()

    def make(self, index: int) -> Scene:
        """Scene ``index``, always the same one."""
        import numpy as np

        rng = np.random.default_rng(derive(self.seed, self.number, index))
        canvas = _Canvas(_background(rng, self.photographs), self.scans)
        low, high = np.log(SIZE)
        for side in np.exp(rng.uniform(low, high, rng.integers(NUM_DIGITS[0], NUM_DIGITS[1] + 1))):
            canvas.paste(rng, int(rng.choice(self.digits)), float(side))
        return canvas.scene()


def split_digits(seed: int) -> tuple[list[int], list[int]]:
    """Which of the 1,797 digits are pasted into training and into validation scenes."""
    import numpy as np
    from sklearn.datasets import load_digits

    order = np.random.default_rng(derive(seed)).permutation(len(load_digits().target)).tolist()
    count = round(_TRAIN_SHARE * len(order))
    return sorted(order[:count]), sorted(order[count:])


def load_photograph(name: str) -> Image.Image:
    """A photograph by its name in ``PHOTOGRAPHS``, in RGB; none is fetched from anywhere."""
    from PIL import Image

    if name.endswith(".jpg"):
        from sklearn.datasets import load_sample_image

        return Image.fromarray(load_sample_image(name))
    from pathlib import Path

    import skimage.data

    # As files: some of skimage.data's functions would ask the network first.
    file = {"motorcycle": "motorcycle_left.png", "rocket": "rocket.jpg"}.get(name, f"{name}.png")
    with Image.open(Path(skimage.data.__file__).parent / file) as image:
        return image.convert("RGB")


class _Canvas:
    """A scene that is being composed.

    Args:
        background: RGB, [SIDE, SIDE, 3], 0..1.
        scans: scikit-learn's digits.
    """

    def __init__(self, background: Array, scans: Any) -> None:
        import numpy as np

        self.pixels = background
        self.owner = np.full((SIDE, SIDE), -1)
        self.areas: list[int] = []
        self.seen: list[int] = []  # pixels of each digit that no other covers
        self.labels: list[int] = []
        self.scans = scans

    def paste(self, rng: np.random.Generator, digit: int, side: float) -> None:
        """Paste scan ``digit`` where it covers no other too much; it gets smaller until there is such a place."""
        angle = float(rng.uniform(-MAX_ROTATION, MAX_ROTATION))
        while True:
            stroke = _stroke(self.scans.images[digit], side, angle)  # [h, w]
            for _ in range(_TRIES):
                y, x = (int(rng.integers(SIDE - length + 1)) for length in stroke.shape)
                if self._fits(stroke, y, x):
                    self._blend(rng, stroke, y, x)
                    self.labels.append(int(self.scans.target[digit]))
                    return
            side = max(SIZE[0], 0.8 * side)

    def _fits(self, stroke: Array, y: int, x: int) -> bool:
        """Whether enough of all digits stays to be seen if a stroke is laid at row ``y`` and column ``x``."""
        rests = zip(self.seen, self._covered(stroke > 0.5, y, x), self.areas, strict=True)
        return all(seen - covered >= (1 - MAX_COVERED) * area for seen, covered, area in rests)

    def _covered(self, mask: Array, y: int, x: int) -> list[int]:
        """Pixels of each digit that a mask at row ``y`` and column ``x`` hides."""
        import numpy as np

        owners = self.owner[y : y + mask.shape[0], x : x + mask.shape[1]][mask]
        covered: list[int] = np.bincount(owners + 1, minlength=len(self.areas) + 1)[1:].tolist()
        return covered

    def _blend(self, rng: np.random.Generator, stroke: Array, y: int, x: int) -> None:
        height, width = stroke.shape
        pixels = self.pixels[y : y + height, x : x + width]
        mask = stroke > 0.5
        color = _contrasting(rng, float(pixels[mask].mean()))
        pixels += stroke[..., None] * (color - pixels)
        self.seen = [seen - covered for seen, covered in zip(self.seen, self._covered(mask, y, x), strict=True)]
        self.owner[y : y + height, x : x + width][mask] = len(self.areas)
        self.areas.append(int(mask.sum()))
        self.seen.append(self.areas[-1])

    def scene(self) -> Scene:
        """What has been composed."""
        image = (self.pixels * 255).round().astype("uint8")
        return Scene(image, self.owner, tuple(self.labels), tuple(self.areas))


def _background(rng: np.random.Generator, photographs: list[Image.Image]) -> Array:
    """A square part of a photograph, [SIDE, SIDE, 3], 0..1, mirrored half of the time."""
    import numpy as np
    from PIL import Image

    photograph = photographs[rng.integers(len(photographs))]
    side = int(rng.integers(_SMALLEST_CROP, min(photograph.size) + 1))
    x, y = (int(rng.integers(length - side + 1)) for length in photograph.size)
    part = photograph.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (x, y, x + side, y + side))
    pixels = np.asarray(part).astype(np.float64) / 255
    return np.ascontiguousarray(pixels[:, ::-1] if rng.random() < 0.5 else pixels)


def _stroke(scan: Array, side: float, angle: float) -> Array:
    """How much of each pixel a digit covers, [h, w], 0..1, cut to where it is more than half.

    Args:
        scan: [8, 8], 0..16.
        side: What its side becomes, in pixels.
        angle: Degrees it is turned by.
    """
    import numpy as np
    from PIL import Image

    padded = np.pad(scan / scan.max(), _MARGIN).astype(np.float32)
    length = max(1, round(side * len(padded) / len(scan)))
    image = Image.fromarray(padded).resize((length, length), Image.Resampling.BICUBIC)
    gray = np.asarray(image.rotate(angle, Image.Resampling.BICUBIC, expand=True))
    cover = ((gray - 0.5) * _EDGE + 0.5).clip(0, 1)
    rows, columns = (np.flatnonzero((cover > 0).any(axis)) for axis in (1, 0))
    return cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _contrasting(rng: np.random.Generator, brightness: float) -> Array:
    """A random color [3] that stands out from ``brightness``, 0..1."""
    import numpy as np

    darker, brighter = max(0.0, brightness - _CONTRAST), max(0.0, 1 - brightness - _CONTRAST)
    place = rng.uniform(0, darker + brighter)
    gray = place if place < darker else brightness + _CONTRAST + place - darker
    tint = rng.uniform(-1, 1, 3)
    return np.clip(gray + 0.25 * (tint - tint.mean()), 0, 1)

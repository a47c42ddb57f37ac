"""Generated scenes for detection and segmentation without a download: handwritten digits pasted on photographs.

The digits are scikit-learn's 1,797 scans; the photographs come with scikit-learn and scikit-image. Each scene is a
function of (seed, subset, index). No digit and no photograph is in both subsets.
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
"""Side of a scene in pixels."""

NUM_DIGITS = (4, 12)
"""Minimum and maximum number of digits in a scene."""

SIZE = (14, 96)
"""Minimum and maximum side in pixels to which a scan of 8 x 8 is enlarged; the logarithm is uniformly distributed."""

MAX_ROTATION = 15.0
"""Maximum rotation of a digit in degrees, in both directions."""

MAX_COVERED = 0.3
"""Maximum fraction of a digit's pixels that other digits may cover."""

CLASSES = tuple("0123456789")

SUBSETS: tuple[Subset, ...] = ("train", "val")

PHOTOGRAPHS: dict[Subset, tuple[str, ...]] = {
    "train": ("china.jpg", "chelsea", "coffee", "motorcycle", "brick", "gravel", "camera"),
    "val": ("flower.jpg", "astronaut", "rocket", "grass"),
}
"""File names in scikit-learn (with a suffix), and names in ``skimage.data`` (without)."""

_TRAIN_SHARE = 0.8  # of the digits
_MARGIN = 1  # empty pixels around a scan, so that strokes at its border are not cut
_EDGE = 3.0  # factor by which pasting steepens the edge of a stroke
_CONTRAST = 0.35  # minimum difference in brightness between a digit and its background, 0..1
_TRIES = 60  # positions to try for a digit before it is made smaller
_MIN_CROP = 160  # minimum side of the part of a photograph that becomes a background, in pixels


@dataclass(frozen=True)
class Scene:
    """An image and, per pixel, the digit that is visible there.

    Attributes:
        image: RGB, uint8 [SIDE, SIDE, 3].
        owner: Index into ``labels`` of the digit visible at each pixel, -1 for the photograph; int [SIDE, SIDE].
        labels: The digits, 0..9, in the order of pasting; later ones cover earlier ones.
        areas: Number of pixels of each digit, including covered ones.
    """

    image: Array
    owner: Array
    labels: tuple[int, ...]
    areas: tuple[int, ...]

    def masks(self) -> Array:
        """Return the mask of the visible part of each digit, bool [N, SIDE, SIDE]."""
        import numpy as np

        masks: Array = self.owner[None] == np.arange(len(self.labels))[:, None, None]
        return masks

    def boxes(self) -> list[tuple[int, int, int, int]]:
        """Return the bounding box ``x y width height`` of the visible part of each digit, in pixels."""
        found = []
        for mask in self.masks():
            rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
            x, y = int(columns[0]), int(rows[0])
            found.append((x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y))
        return found

    def classes(self) -> Array:
        """Return the label map, uint8 [SIDE, SIDE]: 0 for the photograph, 1 + d for digit d."""
        import numpy as np

        table = np.array([label + 1 for label in self.labels] + [0], dtype=np.uint8)
        classes: Array = table[self.owner]  # -1 selects the last entry
        return classes


class SceneMaker:
    """Composes the scenes of one subset.

    Args:
        subset: "train" or "val".
        seed: Seed of the scenes and of the split of the digits.
    """

    def __init__(self, subset: Subset, seed: int = 0) -> None:
        from sklearn.datasets import load_digits

        self.seed = seed
        self.number = SUBSETS.index(subset)
        self.photographs = [load_photograph(name) for name in PHOTOGRAPHS[subset]]
        self.digits = split_digits(seed)[self.number]
        self.scans = load_digits()

    def make(self, index: int) -> Scene:
        """Compose a scene; the same index always gives the same scene."""
        import numpy as np

        rng = np.random.default_rng(derive(self.seed, self.number, index))
        canvas = _Canvas(_background(rng, self.photographs), self.scans)
        low, high = np.log(SIZE)
        for side in np.exp(rng.uniform(low, high, rng.integers(NUM_DIGITS[0], NUM_DIGITS[1] + 1))):
            canvas.paste(rng, int(rng.choice(self.digits)), float(side))
        return canvas.scene()


def split_digits(seed: int) -> tuple[list[int], list[int]]:
    """Split the indices of the 1,797 digits into those of training and of validation scenes."""
    import numpy as np
    from sklearn.datasets import load_digits

    order = np.random.default_rng(derive(seed)).permutation(len(load_digits().target)).tolist()
    count = round(_TRAIN_SHARE * len(order))
    return sorted(order[:count]), sorted(order[count:])


def load_photograph(name: str) -> Image.Image:
    """Load a photograph in RGB by its name in ``PHOTOGRAPHS``, without a download."""
    from PIL import Image

    if name.endswith(".jpg"):
        from sklearn.datasets import load_sample_image

        return Image.fromarray(load_sample_image(name))
    from pathlib import Path

    import skimage.data

    # Read the files directly: some functions of skimage.data would use the network first.
    file = {"motorcycle": "motorcycle_left.png", "rocket": "rocket.jpg"}.get(name, f"{name}.png")
    with Image.open(Path(skimage.data.__file__).parent / file) as image:
        return image.convert("RGB")


class _Canvas:
    """Canvas on which a scene is composed.

    Args:
        background: RGB in 0..1, [SIDE, SIDE, 3].
        scans: scikit-learn's digits.
    """

    def __init__(self, background: Array, scans: Any) -> None:
        import numpy as np

        self.pixels = background
        self.owner = np.full((SIDE, SIDE), -1)
        self.areas: list[int] = []
        self.visible: list[int] = []  # number of visible pixels of each digit
        self.labels: list[int] = []
        self.scans = scans

    def paste(self, rng: np.random.Generator, digit: int, side: float) -> None:
        """Paste scan ``digit`` where it doesn't cover other digits too much, and shrink it until it fits."""
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
        """Return whether all digits stay visible enough if a stroke is pasted at row ``y`` and column ``x``."""
        counts = zip(self.visible, self._covered(stroke > 0.5, y, x), self.areas, strict=True)
        return all(visible - covered >= (1 - MAX_COVERED) * area for visible, covered, area in counts)

    def _covered(self, mask: Array, y: int, x: int) -> list[int]:
        """Return the number of pixels of each digit that a mask at row ``y`` and column ``x`` covers."""
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
        covered = self._covered(mask, y, x)
        self.visible = [before - lost for before, lost in zip(self.visible, covered, strict=True)]
        self.owner[y : y + height, x : x + width][mask] = len(self.areas)
        self.areas.append(int(mask.sum()))
        self.visible.append(self.areas[-1])

    def scene(self) -> Scene:
        """Return the composed scene."""
        image = (self.pixels * 255).round().astype("uint8")
        return Scene(image, self.owner, tuple(self.labels), tuple(self.areas))


def _background(rng: np.random.Generator, photographs: list[Image.Image]) -> Array:
    """Return a random square crop of a photograph in 0..1, [SIDE, SIDE, 3], flipped with probability 0.5."""
    import numpy as np
    from PIL import Image

    photograph = photographs[rng.integers(len(photographs))]
    side = int(rng.integers(_MIN_CROP, min(photograph.size) + 1))
    x, y = (int(rng.integers(length - side + 1)) for length in photograph.size)
    part = photograph.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (x, y, x + side, y + side))
    pixels = np.asarray(part).astype(np.float64) / 255
    return np.ascontiguousarray(pixels[:, ::-1] if rng.random() < 0.5 else pixels)


def _stroke(scan: Array, side: float, angle: float) -> Array:
    """Return the coverage of each pixel by an enlarged digit in 0..1, [h, w], cropped to its nonzero part.

    Args:
        scan: Pixels in 0..16, [8, 8].
        side: Side of the enlarged scan in pixels.
        angle: Rotation in degrees.
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
    """Return a random color [3] that contrasts with a brightness in 0..1."""
    import numpy as np

    darker, brighter = max(0.0, brightness - _CONTRAST), max(0.0, 1 - brightness - _CONTRAST)
    place = rng.uniform(0, darker + brighter)
    gray = place if place < darker else brightness + _CONTRAST + place - darker
    tint = rng.uniform(-1, 1, 3)
    color: Array = np.clip(gray + 0.25 * (tint - tint.mean()), 0, 1)
    return color

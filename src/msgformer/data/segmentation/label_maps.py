"""Images with label maps, independent of their layout on disk, for training and evaluating segmenters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgformer.data.files.images import open_image, read_image
from msgformer.data.files.value_range import ValueRange
from msgformer.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor

IGNORED = 255
"""Label of pixels without a class."""

IGNORED_16_BITS = 65535
"""Label of pixels without a class in maps of 16 bits."""

MAX_COLORS = 4
"""Maximum number of colors that a message names."""

REDUCE_ZERO_OPTIONS = "--segment_images.reduce_zero_label true (check-data: --reduce_zero_label true)"
"""Options for labels that count from 1."""


@dataclass(frozen=True)
class LabelScheme:
    """Meaning of the numbers in a dataset's label maps.

    Attributes:
        classes: Names of the classes, in the order of the model's outputs.
        values: Class index of each number; 255 always means no class, and other numbers are errors unless
            ``others_ignored``.
        others_ignored: Whether numbers that are not in ``values`` mean no class.
        can_reduce_zero: Whether the option ``reduce_zero_label`` would make the labels count from 1.
    """

    classes: tuple[str, ...]
    values: Mapping[int, int]
    others_ignored: bool = False
    can_reduce_zero: bool = False

    @classmethod
    def from_classes(cls, classes: Sequence[str], *, reduce_zero: bool) -> LabelScheme:
        """Create the scheme of consecutive labels.

        Args:
            classes: Names of the classes.
            reduce_zero: Whether labels start at 1, with 0 for no class, as in ADE20K; otherwise they start at 0.

        Raises:
            UserError: There are more classes than labels below 255.
        """
        first = 1 if reduce_zero else 0
        if len(classes) > IGNORED - first:
            raise UserError(
                f"{len(classes)} classes are too many: label maps have labels {first} to {IGNORED - 1} for classes, and"
                f" {IGNORED} means no class; merge classes"
            )
        values = {label + first: label for label in range(len(classes))}
        if reduce_zero:
            values[0] = IGNORED
        return cls(tuple(classes), values, can_reduce_zero=not reduce_zero)

    def table(self) -> np.ndarray:
        """Return the class index of each number, int16 [256]; -1 for invalid numbers."""
        import numpy as np

        table = np.full(256, IGNORED if self.others_ignored else -1, dtype=np.int16)
        table[list(self.values)] = list(self.values.values())
        table[IGNORED] = IGNORED
        return table


class LabeledImages:
    """Pairs of an image and a label map.

    Args:
        root: Folder that the names of the images are relative to.
        pairs: Paths of each image and its label map.
        scheme: Meaning of the numbers in the maps.
    """

    def __init__(self, root: Path, pairs: Sequence[tuple[str, str]], scheme: LabelScheme) -> None:
        self.root, self.pairs, self.scheme = root, tuple(pairs), scheme
        self.table = scheme.table()

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.scheme.classes

    def name(self, index: int) -> str:
        """Return the path of image ``index`` relative to the data folder."""
        return Path(self.pairs[index][0]).relative_to(self.root).as_posix()

    def paths(self) -> list[str]:
        """Return the paths of the images."""
        return [image for image, _ in self.pairs]

    def load(self, index: int, value_range: ValueRange | None = None) -> Image.Image:
        """Load image ``index`` in RGB.

        Args:
            index: Index of the image.
            value_range: Values of black and white in images of more than 8 bits, as of `read_image`.

        Raises:
            UserError: The image can't be read.
        """
        return read_image(self.pairs[index][0], value_range=value_range)

    def labels(self, index: int) -> np.ndarray:
        """Load the label map of image ``index`` as class indices, uint8 [H, W], with 255 for no class.

        Raises:
            UserError: The map can't be read, or holds a label of no class.
        """
        path = self.pairs[index][1]
        numbers = read_label_map(path)
        classes: np.ndarray = self.table[numbers]
        if classes.min() < 0:
            raise UserError(f"{path}: {self.unknown_labels(numbers)}")
        return classes.astype("uint8")

    def target(self, index: int, size: tuple[int, int]) -> Tensor:
        """Load a label map as torchvision's ``Mask`` [H, W], so that transforms apply to it as to the image.

        Args:
            index: Index of the image.
            size: Width and height of the image.

        Raises:
            UserError: As of :meth:`labels`, or the size of the map differs from the image's.
        """
        import torch
        from torchvision.tv_tensors import Mask

        labels = self.labels(index)
        if problem := map_size_problem(labels.shape[1], labels.shape[0], size, self.pairs[index][0]):
            raise UserError(f"{self.pairs[index][1]}: {problem}")
        mask: Tensor = Mask(torch.from_numpy(labels))
        return mask

    def unknown_labels(self, numbers: np.ndarray) -> str:
        """Return the error message for a label map with labels of no class."""
        import numpy as np

        found = [label for label in np.unique(numbers).tolist() if label != IGNORED]
        unknown = [label for label in found if self.table[label] < 0]
        valid = [label for label, number in self.scheme.values.items() if number != IGNORED]
        more = f" and {len(unknown) - 1} other labels" if len(unknown) > 1 else ""
        remedy = "correct the label map, or name every class in classes.txt"
        if self.scheme.can_reduce_zero and unknown == [len(self.classes)]:
            remedy = f"if labels count from 1 and 0 means no class, pass {REDUCE_ZERO_OPTIONS}; otherwise {remedy}"
        return (
            f"label {unknown[0]}{more} of no class: this file holds labels {found[0]} to {found[-1]}, but the"
            f" {len(self.classes)} classes have {min(valid)} to {max(valid)} (255 is ignored); {remedy}"
        )


def read_label_map(path: str) -> np.ndarray:
    """Read the numbers in a label map, uint8 [H, W].

    Three equal channels count as one, and 65535 in a map of 16 bits means no class, like 255.

    Raises:
        UserError: The map can't be read, or doesn't have one number per pixel.
    """
    import numpy as np

    with open_image(path) as image:
        if image.format == "JPEG":
            raise UserError(f"{path} is a JPEG, whose compression changes labels; save label maps as PNG")
        image.load()
        if image.mode in ("RGB", "RGBA"):
            numbers = _single_channel(np.asarray(image), path)
        elif image.mode in ("L", "P", "1", "I", "I;16"):
            numbers = np.asarray(image)
        else:
            raise UserError(
                f"{path} is an image in {image.mode}; a label map has one number per pixel (8-bit gray or palette)"
            )
    if numbers.dtype.itemsize > 1:
        numbers = np.where(numbers == IGNORED_16_BITS, IGNORED, numbers)
        if numbers.min() < 0 or numbers.max() > IGNORED:
            raise UserError(
                f"{path}: its labels range from {numbers.min()} to {numbers.max()}; they must lie in 0..255"
            )
    return numbers.astype(np.uint8, copy=False)


def _single_channel(pixels: np.ndarray, path: str) -> np.ndarray:
    """Return one of three equal channels.

    Args:
        pixels: Pixels [H, W, 3], or with an opaque fourth channel.
        path: The file, for messages.

    Raises:
        UserError: The channels differ: the map has colors; the message names some of them.
    """
    import numpy as np

    numbers = pixels[..., 0]
    if (pixels[..., 1:3] == numbers[..., None]).all() and (pixels[..., 3:] == 255).all():
        return numbers
    colors = [tuple(color) for color in np.unique(pixels[..., :3].reshape(-1, 3), axis=0)[:MAX_COLORS].tolist()]
    raise UserError(
        f"{path} is a color image, with {', '.join(map(str, colors))}, ...; a label map has one number per pixel:"
        " replace each color by the number of its class"
    )


def map_size_problem(width: int, height: int, size: tuple[int, int], image: str) -> str | None:
    """Return the message for a label map whose size differs from its image's, or None.

    Args:
        width: Width of the label map.
        height: Height of the label map.
        size: Width and height of the image.
        image: Path of the image.
    """
    if (width, height) == size:
        return None
    return f"the label map has {width} x {height} pixels, but {image} has {size[0]} x {size[1]}; they must be equal"

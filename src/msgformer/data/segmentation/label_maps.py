"""Images with label maps, independent of their layout on disk, for training and evaluating segmenters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgformer.data.files.images import open_image, read_image
from msgformer.data.segmentation.colors import ColoredMapError, is_gray, pack_colors
from msgformer.data.segmentation.label_scheme import IGNORED_16_BITS, MAX_LABEL, LabelScheme
from msgformer.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor


class LabeledImages:
    """Pairs of an image and a label map.

    Args:
        root: Folder that the names of the images are relative to.
        pairs: Paths of each image and its label map.
        scheme: Meaning of the numbers in the maps.
    """

    def __init__(self, root: Path, pairs: Sequence[tuple[str, str]], scheme: LabelScheme) -> None:
        self.root, self.pairs, self.scheme = root, tuple(pairs), scheme

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.scheme.classes

    @property
    def ignored(self) -> int:
        """Class index of pixels without a class."""
        return self.scheme.ignored

    def name(self, index: int) -> str:
        """Return the path of image ``index`` relative to the data folder."""
        return Path(self.pairs[index][0]).relative_to(self.root).as_posix()

    def paths(self) -> list[str]:
        """Return the paths of the images."""
        return [image for image, _ in self.pairs]

    def load(self, index: int) -> Image.Image:
        """Load image ``index`` in RGB; raises UserError if it can't be read."""
        return read_image(self.pairs[index][0])

    def labels(self, index: int) -> np.ndarray:
        """Load the label map of image ``index`` as class indices [H, W], with `ignored` for no class.

        Returns:
            uint8, or int32 for more than 255 classes.

        Raises:
            UserError: The map can't be read, or holds a label of no class.
        """
        path = self.pairs[index][1]
        numbers = read_label_map(path, self.scheme.colors)
        if problem := self.scheme.unknown_labels(numbers):
            raise UserError(f"{path}: {problem}")
        return self.scheme.to_classes(numbers)

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


def read_label_map(path: str, colors: Mapping[int, int] | None = None) -> np.ndarray:
    """Read the numbers in a label map, uint8 or uint16 [H, W].

    Three equal channels count as one, and 65535 in a map of 16 bits means no class, like 255.

    Args:
        path: The file.
        colors: Number of each color, packed as of `pack_colors`; None if the map must have one number per pixel.

    Raises:
        ColoredMapError: The map has colors that ``colors`` lacks.
        UserError: The map can't be read, or doesn't have one number per pixel.
    """
    import numpy as np

    with open_image(path) as image:
        if image.format == "JPEG":
            raise UserError(f"{path} is a JPEG, whose compression changes labels; save label maps as PNG")
        image.load()
        if image.mode in ("RGB", "RGBA") or (colors and image.mode == "P"):
            pixels = np.asarray(image.convert("RGBA"))
        elif image.mode in ("L", "P", "1", "I", "I;16"):
            pixels = np.asarray(image)
        else:
            raise UserError(
                f"{path} is an image in {image.mode}; a label map has one number per pixel (8-bit gray or palette)"
            )
        indices = np.asarray(image) if image.mode == "P" else None
    if pixels.ndim == 3:
        return _decode_colors(pixels, indices, colors or {}, path)
    if pixels.dtype.itemsize > 1 and (pixels.min() < 0 or pixels.max() > IGNORED_16_BITS):
        raise UserError(
            f"{path}: its labels range from {pixels.min()} to {pixels.max()}; they must lie in 0..{MAX_LABEL}, or be"
            f" {IGNORED_16_BITS} for no class"
        )
    return pixels.astype(np.uint8 if pixels.dtype.itemsize == 1 else np.uint16, copy=False)


def _decode_colors(pixels: np.ndarray, indices: np.ndarray | None, colors: Mapping[int, int], path: str) -> np.ndarray:
    """Return the numbers [H, W] of RGBA pixels [H, W, 4]: those of their colors, or those in equal channels.

    Args:
        pixels: The pixels.
        indices: Indices [H, W] of a palette image, which are the labels if its colors are unknown.
        colors: Number of each packed color.
        path: The file, for messages.

    Raises:
        ColoredMapError: A color has no number, and the channels differ.
    """
    import numpy as np

    packed = pack_colors(pixels)
    found, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    if colors and all(color in colors for color in found.tolist()):
        table = np.array([colors[color] for color in found.tolist()], dtype=np.uint16)
        numbers: np.ndarray = table[places].reshape(packed.shape)
        return numbers
    if indices is not None:
        return indices
    if is_gray(pixels):
        return pixels[..., 0]
    raise ColoredMapError(path, dict(zip(found.tolist(), counts.tolist(), strict=True)), known=colors)


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

"""Datasets of torchvision, opened through timm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgformer.data.files.images import to_rgb
from msgformer.data.files.locations import Location, split_torch
from msgformer.errors import UserError, shown

if TYPE_CHECKING:
    from PIL import Image

    from msgformer.data.files.value_range import ValueRange


class TorchSource:
    """Source of a torchvision dataset.

    Args:
        dataset: The dataset, with the attributes ``targets`` and ``classes``.
        subset: "train" or "val".
    """

    def __init__(self, dataset: Any, subset: str) -> None:
        self.dataset, self.subset = dataset, subset
        self.labels = tuple(int(label) for label in dataset.targets)
        names = (name if isinstance(name, str) else name[0] for name in dataset.classes)  # ImageNet: synonyms
        self.classes = tuple(names)

    def name(self, index: int) -> str:
        """Return the subset and the index, such as ``train[17]``."""
        return f"{self.subset}[{index}]"

    def load(self, index: int, min_side: int = 0, value_range: ValueRange | None = None) -> Image.Image:  # noqa: ARG002
        """Load an image in RGB.

        Args:
            index: Index of the image.
            min_side: Unused, since torchvision decodes at full size.
            value_range: Values of black and white in images of more than 8 bits.

        Raises:
            UserError: The image can't be read; the message names it.
        """
        try:
            return to_rgb(self.dataset[index][0], value_range)
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(f"can't read image {self.name(index)} ({shown(error)}); fetch the set again") from error

    def probe(self, index: int, *, whole: bool) -> UserError | None:
        """Return the error of reading an image, or None; most of these datasets are arrays in memory.

        Args:
            index: Index of the image.
            whole: Whether to decode the pixels.
        """
        if whole and hasattr(self.dataset, "imgs"):
            try:
                self.load(index)
            except UserError as error:
                return error
        return None


def open_torch_set(location: Location) -> tuple[TorchSource, TorchSource]:
    """Open the training and the validation set.

    Raises:
        UserError: The folder does not contain the dataset, or it is damaged.
    """
    from timm.data import create_dataset

    name, folder = split_torch(location)
    try:
        train, val = (create_dataset(f"torch/{name}", str(folder), split) for split in ("train", "validation"))
    except (RuntimeError, OSError, ValueError) as error:
        missing = f"data: no {name} in {folder} ({shown(' '.join(str(error).split()))})"
        raise UserError(f"{missing}; torchvision.datasets can download it there") from error
    return TorchSource(train, "train"), TorchSource(val, "val")

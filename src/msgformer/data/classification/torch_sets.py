"""The image sets that torchvision reads, through timm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgformer.data.files.images import to_rgb
from msgformer.data.files.locations import Location, split_torch
from msgformer.errors import UserError, shown

if TYPE_CHECKING:
    from PIL import Image


class TorchSource:
    """A set of torchvision.

    Args:
        dataset: The set, which has ``targets`` and ``classes``.
        subset: "train" or "val".
    """

    def __init__(self, dataset: Any, subset: str) -> None:
        self.dataset, self.subset = dataset, subset
        self.labels = tuple(int(label) for label in dataset.targets)
        names = (name if isinstance(name, str) else name[0] for name in dataset.classes)  # ImageNet: synonyms
        self.classes = tuple(names)

    def name(self, index: int) -> str:
        """The subset and the place in it, ``train[17]``."""
        return f"{self.subset}[{index}]"

    def load(self, index: int, min_side: int = 0) -> Image.Image:  # noqa: ARG002
        """Image ``index`` in RGB; raises UserError naming it if that fails."""
        try:
            return to_rgb(self.dataset[index][0])
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(f"can't read image {self.name(index)} ({shown(error)}); fetch the set again") from error

    def probe(self, index: int, *, whole: bool) -> UserError | None:
        """What is wrong with image ``index``, or None; most of these sets are arrays, of which nothing can be."""
        if whole and hasattr(self.dataset, "imgs"):
            try:
                self.load(index)
            except UserError as error:
                return error
        return None


def open_torch_set(location: Location) -> tuple[TorchSource, TorchSource]:
    """Training and validation set.

    Raises:
        UserError: it isn't in the folder, or is damaged there.
    """
    from timm.data import create_dataset

    name, folder = split_torch(location)
    try:
        train, val = (create_dataset(f"torch/{name}", str(folder), split) for split in ("train", "validation"))
    except (RuntimeError, OSError, ValueError) as error:
        missing = f"data: no {name} in {folder} ({shown(' '.join(str(error).split()))})"
        raise UserError(f"{missing}; torchvision.datasets can download it there") from error
    return TorchSource(train, "train"), TorchSource(val, "val")

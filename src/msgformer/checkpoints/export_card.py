"""Card of an exported file: its description of the model and inputs, readable without further libraries."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msgformer.errors import UserError

Format = Literal["onnx", "openvino", "torch-export", "aoti", "executorch"]
Precision = Literal["float32", "int8"]

KEY = "msgformer"
"""Key of the card in a file's metadata, where it is one JSON object."""

SUFFIXES: dict[Format, str] = {
    "onnx": ".onnx",
    "openvino": ".xml",
    "torch-export": ".pt2",
    "aoti": ".pt2",
    "executorch": ".pte",
}
EXPORTED_SUFFIXES = tuple(dict.fromkeys(SUFFIXES.values()))
"""Suffixes of exported files."""

MAX_BATCH, MAX_SIDE = 1024, 4096
"""Upper bounds of dynamic batch sizes and image sides."""


def span(bounds: tuple[int, int]) -> str:
    """Format a minimum and a maximum, or the one value if they are equal."""
    low, high = bounds
    return str(low) if low == high else f"{low}..{high}"


@dataclass(frozen=True)
class Sizes:
    """Input sizes that a file accepts, each as a minimum and a maximum, both inclusive.

    Attributes:
        batch: Number of images.
        height: Height in pixels.
        width: Width in pixels.
    """

    batch: tuple[int, int]
    height: tuple[int, int]
    width: tuple[int, int]

    @property
    def fixed_batch(self) -> int | None:
        """Number of images if it is fixed, otherwise None."""
        low, high = self.batch
        return low if low == high else None

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width if they are fixed, otherwise None."""
        smallest, largest = zip(self.height, self.width, strict=True)
        return smallest if smallest == largest else None

    def accepts(self, height: int, width: int) -> bool:
        """Return whether the file accepts images of a size.

        Args:
            height: Height in pixels.
            width: Width in pixels.
        """
        return self.height[0] <= height <= self.height[1] and self.width[0] <= width <= self.width[1]

    def __str__(self) -> str:
        return " x ".join(span(bounds) for bounds in (self.height, self.width))


@dataclass(frozen=True)
class ExportCard:
    """Description of an exported file.

    Attributes:
        format: Format of the file.
        task: "classify", "detect" or "segment".
        model: Name of the model, or of the backbone, in timm's registry.
        classes: Class names, in the order of the outputs.
        preprocessing: Preprocessing of images, as in a checkpoint.
        sizes: Input sizes that the file accepts.
        channels: Number of input channels.
        outputs: Names of the outputs, in order.
        mean: Channel means for normalizing the input of a detector or segmenter, for pixels in 0..1.
        std: Channel standard deviations, likewise.
        precision: Number format of the weights.
        version: Version of this package that wrote the file.
    """

    format: Format
    task: str
    model: str
    classes: list[str]
    preprocessing: dict[str, Any]
    sizes: Sizes
    channels: int = 3
    outputs: tuple[str, ...] = ("logits",)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    precision: Precision = "float32"
    version: str = ""

    def to_json(self) -> str:
        """Return the card as one JSON object."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | None, path: Path) -> ExportCard:
        """Parse the card in a file's metadata.

        Args:
            text: The JSON object; None if the file has no card.
            path: The file, for messages.

        Raises:
            UserError: There is no card, or another version of this package wrote it.
        """
        if not text:
            raise UserError(f"{path} has no card with classes and input sizes; give a file of 'msgformer export'")
        try:
            stored = json.loads(text)
            sizes = Sizes(**{name: tuple(bounds) for name, bounds in stored.pop("sizes").items()})
            for name in ("outputs", "mean", "std"):
                stored[name] = stored[name] and tuple(stored[name])
            return cls(**stored, sizes=sizes)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} was written by another version of msgformer ({error})") from error

    def check_size(self, height: int, width: int, path: Path) -> None:
        """Check that the file accepts images of a size.

        Args:
            height: Height in pixels.
            width: Width in pixels.
            path: The file, for messages.

        Raises:
            UserError: The file doesn't accept this size.
        """
        if not self.sizes.accepts(height, width):
            static = self.sizes.height[0] == self.sizes.height[1]
            remedy = "export it with --dynamic_size, or with that --img_size" if static else "resize it"
            raise UserError(f"{path} takes images of {self.sizes} pixels, not of {height} x {width}; {remedy}")


def is_exported(path: Path) -> bool:
    """Return whether a path is an existing file with the suffix of an exported model."""
    return path.suffix.lower() in EXPORTED_SUFFIXES and path.is_file()

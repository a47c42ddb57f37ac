"""What an exported file says about itself, in words that need no library to be read."""

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
"""Under this name a file's metadata hold the card, as one JSON object."""

SUFFIXES: dict[Format, str] = {
    "onnx": ".onnx",
    "openvino": ".xml",
    "torch-export": ".pt2",
    "aoti": ".pt2",
    "executorch": ".pte",
}
EXPORTED_SUFFIXES = tuple(dict.fromkeys(SUFFIXES.values()))
"""How the names of exported files end."""

MAX_BATCH, MAX_SIDE = 1024, 4096
"""Bounds of what is dynamic."""


def span(bounds: tuple[int, int]) -> str:
    """Least and most in words, or the one if they are equal."""
    least, most = bounds
    return str(least) if least == most else f"{least}..{most}"


@dataclass(frozen=True)
class Sizes:
    """The inputs that a file takes: images of these numbers and sizes, least and most, both included.

    Attributes:
        batch: Images at once.
        height: Pixels.
        width: Pixels.
    """

    batch: tuple[int, int]
    height: tuple[int, int]
    width: tuple[int, int]

    @property
    def fixed_batch(self) -> int | None:
        """The only number of images that is taken; None if there are several."""
        least, most = self.batch
        return least if least == most else None

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """The only height and width that is taken; None if there are several."""
        (low, high), (left, right) = self.height, self.width
        return (low, left) if (low, left) == (high, right) else None

    def accepts(self, height: int, width: int) -> bool:
        """Whether images of this size are taken."""
        return self.height[0] <= height <= self.height[1] and self.width[0] <= width <= self.width[1]

    def __str__(self) -> str:
        return " x ".join(span(bounds) for bounds in (self.height, self.width))


@dataclass(frozen=True)
class ExportCard:
    """What a file says about itself.

    Attributes:
        format: What wrote it.
        task: "classify", "detect" or "segment".
        model: Name of the model, or of the backbone, in timm's registry.
        classes: Class names, in the order of the outputs.
        preprocessing: How an image becomes the input, as a checkpoint says it.
        sizes: The inputs that it takes.
        channels: Of the input.
        outputs: Names of the outputs, in their order.
        mean: What a detector's or a segmenter's input has to be normalized with, by channel, for pixels in 0..1.
        std: Likewise.
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
        """The card as one JSON object."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | None, path: Path) -> ExportCard:
        """The card in a file's metadata.

        Raises:
            UserError: there is none, or not one of this version's kind.
        """
        if not text:
            raise UserError(f"{path} says nothing about its classes and input; give a file of 'msgformer export'")
        try:
            stored = json.loads(text)
            sizes = Sizes(**{name: tuple(bounds) for name, bounds in stored.pop("sizes").items()})
            for name in ("outputs", "mean", "std"):
                stored[name] = stored[name] and tuple(stored[name])
            return cls(**stored, sizes=sizes)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} was written by another version of msgformer ({error})") from error

    def check_size(self, height: int, width: int, path: Path) -> None:
        """Refuse images of a size that the file wasn't made for; raises UserError."""
        if not self.sizes.accepts(height, width):
            static = self.sizes.height[0] == self.sizes.height[1]
            remedy = "export it with --dynamic-size, or with that --img-size" if static else "resize it"
            raise UserError(f"{path} takes images of {self.sizes} pixels, not of {height} x {width}; {remedy}")


def is_exported(path: Path) -> bool:
    """Whether a file is an exported model, by its name."""
    return path.suffix.lower() in EXPORTED_SUFFIXES and path.is_file()

"""Common base of the predictions of all tasks: results in Python, and records in files."""

from __future__ import annotations

import base64
import html
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgformer.data.files.folder import IMAGE_SUFFIXES
from msgformer.errors import UserError, shown

if TYPE_CHECKING:
    from PIL import Image

    from msgformer.data.files.inputs import ImageInput

MAX_STEM = 60
"""Largest number of characters of an image's name in the names of output files."""

HTML_SIDE = 320
"""Longer side in pixels of the image that a notebook shows."""


class PredictionRecord(ABC):
    """The prediction of one image in plain values.

    Attributes:
        image: Name of the image.
        error: Why the image can't be read; None if it can.
    """

    image: str
    error: str | None

    @abstractmethod
    def summary(self) -> str:
        """Return a summary of the prediction in one line."""

    def title(self) -> str:
        """Return the most important part of the prediction, for a caption."""
        return self.summary()

    def cells(self) -> Sequence[str]:
        """Return the cells of the table row, without the name of the image."""
        return (self.summary(),)

    @abstractmethod
    def is_close(self, other: Any) -> bool:
        """Return whether another record agrees within the differences between devices."""


@dataclass(frozen=True, repr=False, eq=False)
class PredictionResult(ABC):
    """The prediction of one image.

    Attributes:
        image: Name of the image.
        class_names: Names of all classes, in the order of the model's outputs.
        error: Why the image can't be read; None if it can.
        source: Input that loads the image again; None if there is none.
        pixels: The image, or a small copy of it, as uint8 [H, W, 3]; None if it isn't stored.
    """

    image: str
    class_names: tuple[str, ...]
    error: str | None = field(default=None, kw_only=True)
    source: ImageInput | None = field(default=None, kw_only=True, compare=False)
    pixels: Any = field(default=None, kw_only=True, compare=False)

    @abstractmethod
    def to_record(self) -> PredictionRecord:
        """Return the prediction in plain values."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the prediction in plain values, as one line of ``predictions.jsonl`` holds it."""

    @abstractmethod
    def draw(self, image: Image.Image) -> Image.Image:
        """Return a copy of an RGB image with the prediction drawn on it."""

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def load_image(self) -> Image.Image:
        """Load the image again.

        Raises:
            UserError: The image can't be read.
        """
        from PIL import Image

        if self.error is not None:
            raise UserError(self.error)
        if self.pixels is not None:
            return Image.fromarray(self.pixels)
        if self.source is None:
            raise UserError(f"{shown(self.image)} isn't available any more; predict it again")
        return self.source.load()

    def plot(self) -> Image.Image:
        """Return the image with the prediction drawn on it.

        Raises:
            UserError: The image can't be read.
        """
        return self.draw(self.load_image())

    def thumbnail(self) -> Image.Image:
        """Return an image of any size for a contact sheet, by default that of `plot`."""
        return self.plot()

    def save_drawn(self, folder: Path, number: int) -> PredictionRecord:
        """Write the image of `plot` to a folder.

        Args:
            folder: The folder.
            number: Number of the image, with which the file's name begins.

        Returns:
            The record, which holds the path of the file if it has a field for it.
        """
        self.plot().save(self.drawn_path(folder, number))
        return self.to_record()

    def drawn_path(self, folder: Path, number: int, ending: str = ".png") -> Path:
        """Return the path of an output file for this image.

        Args:
            folder: Folder of the file.
            number: Number of the image, with which the file's name begins.
            ending: End of the file's name.
        """
        return folder / f"{number:04d}-{Path(self.image).stem[:MAX_STEM]}{ending}"

    def save(self, path: str | Path) -> Path:
        """Write the prediction to a file.

        Args:
            path: File with the ending ``.json`` for the values of `to_dict`, or of an image for that of `plot`.

        Returns:
            The path.

        Raises:
            UserError: The ending is neither, or the file can't be written.
        """
        path = Path(path)
        suffix = path.suffix.lower().removeprefix(".")
        if suffix != "json" and suffix not in IMAGE_SUFFIXES:
            raise UserError(f"path: {path} must end with .json, or with an image's ending such as .png")
        try:
            if suffix == "json":
                path.write_text(f"{self.to_json()}\n", encoding="utf-8", errors="backslashreplace")
            else:
                self.plot().save(path)
        except OSError as error:
            raise UserError(f"path: {path} can't be written ({error.strerror or error})") from error
        return path

    def __repr__(self) -> str:
        name = type(self).__name__
        text = f"can't be read: {self.error}" if self.error is not None else self.to_record().summary()
        return f"{name}({shown(self.image)}: {text})"

    def _repr_html_(self) -> str:
        """Return the HTML that a notebook shows: the drawn image and a summary."""
        summary = self.error if self.error is not None else self.to_record().summary()
        text = f"<b>{html.escape(shown(self.image))}</b><br>{html.escape(summary)}"
        try:
            drawn = self.plot()
        except UserError:
            return f"<div>{text}</div>"
        drawn.thumbnail((HTML_SIDE, HTML_SIDE))
        content = io.BytesIO()
        drawn.save(content, "PNG")
        data = base64.b64encode(content.getvalue()).decode()
        return f'<div><img src="data:image/png;base64,{data}" alt="{html.escape(summary)}"><br>{text}</div>'

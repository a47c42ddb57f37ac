"""Model card: the description of a model that a checkpoint stores beside the weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from msgformer.errors import UserError

KEY = "msgformer"
"""Key of the card in a checkpoint, and in the header of a safetensors file."""


@dataclass(frozen=True)
class ModelCard:
    """Description of a trained model, in plain values only, so that it loads safely.

    Attributes:
        model: Name in timm's registry.
        model_args: Other arguments of its constructor.
        classes: Class names, in the order of the outputs.
        preprocessing: Preprocessing of images, as of ``Preprocessing.to_dict``.
        data: Training data: the folder (None for the bundled data), the validation fraction, the seed.
        task: Name of the task.
        version: Version of this package that wrote the file.
        plugins: Modules, or .py files, that must be imported before the model is built.
    """

    model: str
    model_args: dict[str, Any]
    classes: list[str]
    preprocessing: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)
    task: str = "classify"
    version: str = field(default_factory=lambda: version("msgformer"))
    plugins: list[str] = field(default_factory=list)

    @property
    def img_size(self) -> tuple[int, int]:
        """Height and width of a classifier's training images."""
        _, height, width = self.preprocessing["input_size"]
        return height, width

    @property
    def value_range(self) -> tuple[float, float] | None:
        """Values of black and white in images of more than 8 bits; None for those of the format."""
        stored = self.preprocessing.get("value_range")
        return None if stored is None else (stored[0], stored[1])

    def write(self, checkpoint: dict[str, Any]) -> None:
        """Put the card into a checkpoint."""
        checkpoint[KEY] = asdict(self)

    def to_json(self) -> str:
        """Return the card as one JSON object, for files that hold text beside tensors."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, path: Path) -> ModelCard:
        """Read the card from a file's text.

        Args:
            text: The JSON object.
            path: The file, for messages.

        Raises:
            UserError: The text is not a valid card.
        """
        try:
            stored = json.loads(text)
        except ValueError as error:
            raise UserError(f"{path}: its model card can't be read ({error}); convert the checkpoint again") from error
        return cls.read({KEY: stored}, path)

    @classmethod
    def read(cls, checkpoint: Any, path: Path) -> ModelCard:
        """Read the card from a checkpoint.

        Args:
            checkpoint: Content of the file.
            path: The file, for messages.

        Raises:
            UserError: There is no card, or another version of this package wrote it.
        """
        stored = checkpoint.get(KEY) if isinstance(checkpoint, dict) else None
        if not isinstance(stored, dict):
            raise UserError(
                f"{path} holds no model card of msgformer; give a best.ckpt or last.ckpt of 'msgformer train'"
            )
        try:
            return cls(**stored)
        except TypeError as error:
            written = f"version {stored['version']}" if "version" in stored else "the version that wrote it"
            raise UserError(f"{path} was written by another version of msgformer ({error}); use {written}") from error

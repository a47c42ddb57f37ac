"""Result of a classifier for one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from msgformer.tasks.classification.record import ClassificationLayout, Prediction
from msgformer.tasks.prediction.base import PredictionResult
from msgformer.visual.drawing import draw_lines

if TYPE_CHECKING:
    from PIL import Image

TOP_K = 5
"""Default number of classes in records."""


@dataclass(frozen=True, repr=False, eq=False)
class ClassificationResult(PredictionResult):
    """Result of a classifier for one image.

    Attributes:
        image: Name of the image.
        class_names: Names of all classes, in the order of the model's outputs.
        probabilities: Probability of each class, float32 [K].
        top_k: Number of classes in `to_dict` and in the record.
    """

    probabilities: np.ndarray
    top_k: int = TOP_K

    @property
    def label(self) -> str | None:
        """The most probable class; None if the image can't be read."""
        return self.top(1)[0][0] if len(self.probabilities) else None

    @property
    def probability(self) -> float | None:
        """Probability of the most probable class, 0..1; None if the image can't be read."""
        return self.top(1)[0][1] if len(self.probabilities) else None

    def top(self, k: int = TOP_K) -> list[tuple[str, float]]:
        """Return the ``k`` most probable classes with their probabilities, the most probable first.

        Args:
            k: Number of classes; all if there are fewer.
        """
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.class_names[index], float(self.probabilities[index])) for index in order]

    def thumbnail(self) -> Image.Image:
        """Return the image itself, since a contact sheet writes the class below it."""
        return self.load_image()

    def to_record(self) -> Prediction:
        """Return the ``top_k`` most probable classes."""
        pairs = self.top(self.top_k)
        return Prediction(self.image, [name for name, _ in pairs], [value for _, value in pairs], self.error)

    def to_dict(self) -> dict[str, Any]:
        """Return ``image``, ``classes`` and ``probabilities`` of the ``top_k`` most probable classes."""
        return ClassificationLayout(self.top_k).to_json(self.to_record())

    def draw(self, image: Image.Image) -> Image.Image:
        """Return a copy of an RGB image with the three most probable classes written on it."""
        return draw_lines(image, [f"{name} {100 * value:.1f} %" for name, value in self.top(min(3, self.top_k))])

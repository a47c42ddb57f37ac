"""Result of a segmenter for one image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from msgformer.data.segmentation.label_scheme import ignored_index
from msgformer.tasks.prediction.base import PredictionResult
from msgformer.tasks.segmentation.record import SegmentationLayout, SegmentationPrediction
from msgformer.visual.drawing import class_map, draw_classes

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, repr=False, eq=False)
class SegmentationResult(PredictionResult):
    """Result of a segmenter for one image.

    Attributes:
        image: Name of the image.
        class_names: Names of all classes, in the order of the model's outputs.
        class_map: Class of each pixel of the original image, uint8 [H, W], or uint16 for more than 255 classes.
    """

    class_map: np.ndarray

    @property
    def area_by_class(self) -> dict[str, float]:
        """Area of each class that occurs, in percent of the image."""
        if not self.class_map.size:
            return {}
        counts = np.bincount(self.class_map.ravel(), minlength=len(self.class_names))
        return {
            self.class_names[label]: 100 * float(counts[label]) / self.class_map.size
            for label in np.flatnonzero(counts)
        }

    def to_record(self, drawn: Path | None = None, class_map: Path | None = None) -> SegmentationPrediction:
        """Return the areas as a record.

        Args:
            drawn: File of the image with the classes drawn on it, if it was written.
            class_map: File of the class map, if it was written.
        """
        return SegmentationPrediction(self.image, self.area_by_class, drawn, class_map, self.error)

    def to_dict(self) -> dict[str, Any]:
        """Return ``image`` and ``classes``: the area of each class that occurs, in percent."""
        return SegmentationLayout(self.class_names).to_json(self.to_record())

    def to_image(self) -> Image.Image:
        """Return the class map as a palette image, with the color of the class of each pixel."""
        return class_map(self.class_map)

    def draw(self, image: Image.Image) -> Image.Image:
        """Return a copy of an RGB image, overlaid with the colors of its classes."""
        return draw_classes(image, self.class_map, ignored_index(len(self.class_names)))

    def save_drawn(self, folder: Path, number: int) -> SegmentationPrediction:
        """Write the image of `plot` and the class map to a folder.

        Args:
            folder: The folder.
            number: Number of the image, with which the files' names begin.

        Returns:
            The record, with the paths of the files.
        """
        drawn, classes = self.drawn_path(folder, number), self.drawn_path(folder, number, "-classes.png")
        self.plot().save(drawn)
        self.to_image().save(classes)
        return self.to_record(drawn, classes)

"""Result of a detector for one image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from msgformer.tasks.detection.record import DetectionLayout, DetectionPrediction, FoundObject
from msgformer.tasks.prediction.base import PredictionResult
from msgformer.utils.rle import decode_mask
from msgformer.visual.drawing import Mark, draw_objects

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, repr=False, eq=False)
class DetectionResult(PredictionResult):
    """Result of a detector for one image: N objects, the highest score first.

    Attributes:
        image: Name of the image.
        class_names: Names of all classes, in the order of the model's outputs.
        boxes: ``x1 y1 x2 y2`` in pixels of the original image, float32 [N, 4].
        scores: Probability of each object, float32 [N].
        class_ids: Index of each object's class in ``class_names``, int64 [N].
        size: Height and width of the original image in pixels.
        rles: Masks in COCO's compressed RLE; None if the detector predicts no masks.
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    size: tuple[int, int]
    rles: list[dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def labels(self) -> list[str]:
        """Class of each object."""
        return [self.class_names[index] for index in self.class_ids]

    @property
    def masks(self) -> np.ndarray | None:
        """Pixels of each object, bool [N, H, W]; None if the detector predicts no masks."""
        if self.rles is None:
            return None
        if not self.rles:
            return np.zeros((0, *self.size), bool)
        return np.stack([decode_mask(rle, *self.size) for rle in self.rles])

    @property
    def objects(self) -> list[FoundObject]:
        """The objects in plain values."""
        rles = self.rles if self.rles is not None else [None] * len(self)
        boxes = self.boxes.round(2).tolist()
        return [FoundObject(*fields) for fields in zip(self.labels, self.scores.tolist(), boxes, rles, strict=True)]

    def without_pixels(self) -> DetectionResult:
        """Return a copy without the image, which takes much memory."""
        return replace(self, source=None, pixels=None)

    def to_record(self, drawn: Path | None = None) -> DetectionPrediction:
        """Return the objects as a record.

        Args:
            drawn: File of the image with the objects drawn on it, if it was written.
        """
        return DetectionPrediction(self.image, self.objects, drawn, self.error)

    def to_dict(self) -> dict[str, Any]:
        """Return ``image`` and ``objects``, each with ``label``, ``score``, ``box`` and ``mask``."""
        return DetectionLayout().to_json(self.to_record())

    def draw(self, image: Image.Image) -> Image.Image:
        """Return a copy of an RGB image with boxes, masks and labels."""
        rles = [None] * len(self) if self.rles is None else self.rles
        masks = [None if rle is None else partial(decode_mask, rle, *self.size) for rle in rles]
        marks = [
            Mark(box, int(label), f"{self.class_names[label]} {score:.2f}", mask)
            for box, label, score, mask in zip(self.boxes.tolist(), self.class_ids, self.scores, masks, strict=True)
        ]
        return draw_objects(image, marks)

    def save_drawn(self, folder: Path, number: int) -> DetectionPrediction:
        """Write the image of `plot` to a folder.

        Args:
            folder: The folder.
            number: Number of the image, with which the file's name begins.

        Returns:
            The record, with the path of the file.
        """
        path = self.drawn_path(folder, number)
        self.plot().save(path)
        return self.to_record(path)

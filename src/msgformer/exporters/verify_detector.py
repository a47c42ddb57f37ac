"""Comparison of an exported detector with the original one, object by object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from msgformer.exporters.graph.segmenter import pad_to_strides
from msgformer.exporters.session import Session

Detections = dict[str, Tensor]
"""``boxes`` [D, 4], ``labels`` [D], ``scores`` [D] and optionally ``masks`` [D, 28, 28] of one image."""


class DetectionDiff(NamedTuple):
    """Differences between two lists of objects.

    Attributes:
        objects: Number of objects in both lists together.
        missed: Number of objects without a match in the other list.
        score: Largest difference of the scores, and of the mask probabilities, of matched objects.
        box: Largest difference of the box coordinates of matched objects, in pixels.
    """

    objects: int
    missed: int
    score: float
    box: float


class PassThroughTransform(nn.Module):
    """Replacement of a detector's transform that accepts the inputs of a file and returns detections unchanged."""

    def forward(self, images: Sequence[Tensor], targets: Any = None) -> tuple[ImageList, Any]:
        """Batch images for the detector's backbone.

        Args:
            images: Normalized images of one size, [3, H, W].
            targets: Returned unchanged.
        """
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        return ImageList(pad_to_strides(torch.stack(list(images))), sizes), targets

    def postprocess(self, found: list[Detections], *sizes: Any) -> list[Detections]:
        """Return the detections unchanged.

        Args:
            found: Detections of each image.
            *sizes: Unused.
        """
        del sizes
        return found


@contextmanager
def bypass_transform(detector: nn.Module) -> Iterator[None]:
    """Make a detector accept normalized images and return masks within boxes, as its file does."""
    transform = detector.get_submodule("transform")
    detector.transform = PassThroughTransform()
    try:
        yield
    finally:
        detector.transform = transform


def run_detector(session: Session, images: Tensor) -> Detections:
    """Run an exported detector and remove empty detections.

    Args:
        session: Session of the file.
        images: One normalized image [1, 3, H, W].
    """
    outputs = dict(zip(session.card.outputs, session(images), strict=True))
    return drop_empty_boxes({name: output[0][outputs["scores"][0] > 0] for name, output in outputs.items()})


def drop_empty_boxes(found: Detections) -> Detections:
    """Remove objects with empty boxes, which the original model returns for boxes outside the image."""
    is_nonempty = (found["boxes"][:, 2:] > found["boxes"][:, :2]).all(1)
    return {name: values[is_nonempty] for name, values in found.items()}


def compare_detections(found: Detections, expected: Detections, score_limit: float, box_limit: float) -> DetectionDiff:
    """Match the objects of a file with those of the model, and return their differences.

    Args:
        found: Objects of the file.
        expected: Objects of the model.
        score_limit: Maximum difference of the scores of matched objects.
        box_limit: Maximum difference of the box coordinates of matched objects, in pixels.
    """
    expected = drop_empty_boxes(expected)
    scores = (found["scores"].unsqueeze(1) - expected["scores"]).abs()  # [F, E]
    boxes = (found["boxes"].unsqueeze(1) - expected["boxes"]).abs().amax(-1)
    alike = found["labels"].unsqueeze(1) == expected["labels"]
    alike &= (scores <= score_limit) & (boxes <= box_limit)
    missed = int((~alike.any(0)).sum() + (~alike.any(1)).sum())
    total = sum(alike.shape)
    if not alike.any():
        return DetectionDiff(total, missed, 0.0, 0.0)
    apart = torch.where(alike, scores / score_limit + boxes / box_limit, torch.inf)
    theirs = alike.any(0).nonzero()[:, 0]
    ours = apart[:, theirs].argmin(0)
    difference = scores[ours, theirs].max().item()
    if "masks" in found:
        difference = max(difference, (found["masks"][ours] - expected["masks"][theirs]).abs().max().item())
    return DetectionDiff(total, missed, difference, boxes[ours, theirs].max().item())

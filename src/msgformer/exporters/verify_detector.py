"""An exported detector compared with the one that it was made of, object by object."""

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
"""``boxes`` [D, 4], ``labels`` [D], ``scores`` [D] and perhaps ``masks`` [D, 28, 28] of one image."""


class DetectionDiff(NamedTuple):
    """What two lists of objects have in common.

    Attributes:
        objects: In both lists together.
        missed: Those of them that have no like in the other list.
        score: Largest difference of the scores, and of the masks' probabilities, of objects that are alike.
        box: Largest difference of their boxes' sides, in pixels.
    """

    objects: int
    missed: int
    score: float
    box: float


class PassThroughTransform(nn.Module):
    """In the place of a detector's transform: takes what a file takes, and leaves detections as they are."""

    def forward(self, images: Sequence[Tensor], targets: Any = None) -> tuple[ImageList, Any]:
        """Normalized images [3, H, W] of one size as the batch that the detector's backbone takes."""
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        return ImageList(pad_to_strides(torch.stack(list(images))), sizes), targets

    def postprocess(self, found: list[Detections], *sizes: Any) -> list[Detections]:
        """The detections themselves."""
        del sizes
        return found


@contextmanager
def bypass_transform(detector: nn.Module) -> Iterator[None]:
    """Have a detector take normalized images, and give masks within boxes, as its file does."""
    transform = detector.get_submodule("transform")
    detector.transform = PassThroughTransform()
    try:
        yield
    finally:
        detector.transform = transform


def run_detector(session: Session, images: Tensor) -> Detections:
    """What a file finds on one image [1, 3, H, W]: the entries of its lists that hold something."""
    outputs = dict(zip(session.card.outputs, session(images), strict=True))
    return drop_empty_boxes({name: output[0][outputs["scores"][0] > 0] for name, output in outputs.items()})


def drop_empty_boxes(found: Detections) -> Detections:
    """The objects whose boxes aren't empty; those of a live model may be, where a box moved out of the image."""
    kept = (found["boxes"][:, 2:] > found["boxes"][:, :2]).all(1)
    return {name: values[kept] for name, values in found.items()}


def compare_detections(found: Detections, expected: Detections, score_limit: float, box_limit: float) -> DetectionDiff:
    """Compare what a file finds with what the model finds.

    Args:
        found: By the file.
        expected: By the model.
        score_limit: Two objects of one class aren't alike whose scores differ by more.
        box_limit: Likewise, sides of the boxes, in pixels.
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

"""Training of a semantic segmenter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from msgformer.heads.segmentation.upernet import resize
from msgformer.tasks.segmentation.confusion import SegmentScores
from msgformer.training.best import Best
from msgformer.training.module import Training

Batch = tuple[list[Tensor], list[Tensor], Tensor]
"""Normalised images [3, h, w], their classes [H, W], and their positions in their source [B]."""


class Segmenting(Training):
    """A segmenter that learns what each pixel shows.

    Validation images may differ in size from each other and from their label maps, on which they are scored.
    """

    best = Best("val/miou", tie_breaker="val/loss")

    @override
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The head's and, if there is one, the auxiliary head's."""
        images, labels, _ = batch
        return self.model(torch.stack(images), torch.stack(labels))

    @override
    def make_scores(self) -> SegmentScores:
        """Mean intersection over union, accuracies and loss."""
        return SegmentScores(len(self.card.classes))

    @override
    def score(self, model: nn.Module, batch: Batch, scores: SegmentScores) -> None:
        """Count a batch, images of one size together."""
        images, labels, _ = batch
        for stacked, classes in _of_one_size(images, labels):
            scores.update(resize(model(stacked), classes.shape[-2:]), classes)

    @override
    def positions(self, batch: Batch) -> Tensor:
        """The images' positions."""
        return batch[2]


def _of_one_size(images: Sequence[Tensor], labels: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """All at once where all are of one size, otherwise one after the other."""
    sizes = {(image.shape, label.shape) for image, label in zip(images, labels, strict=True)}
    if len(sizes) == 1:
        yield torch.stack(list(images)), torch.stack(list(labels))
        return
    for image, label in zip(images, labels, strict=True):
        yield image[None], label[None]

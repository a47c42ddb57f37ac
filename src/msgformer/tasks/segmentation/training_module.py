"""Lightning module that trains a segmenter."""

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
"""Normalized images [3, h, w], their label maps [H, W], and their indices in their source [B]."""


class SegmentationTraining(Training):
    """Trains a segmenter.

    Validation images may differ in size from each other and from their label maps, at whose size they are scored.
    """

    best = Best("val/miou", tie_breaker="val/loss")

    @override
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses of the head and of the auxiliary head, if there is one."""
        images, labels, _ = batch
        losses: dict[str, Tensor] = self.model(torch.stack(images), torch.stack(labels))
        return losses

    @override
    def make_scores(self) -> SegmentScores:
        """Return mean intersection over union, accuracies and loss."""
        return SegmentScores(len(self.card.classes))

    @override
    def score(self, model: nn.Module, batch: Batch, scores: SegmentScores) -> None:
        """Add a validation batch to the scores.

        Args:
            model: Segmenter in evaluation mode.
            batch: Validation batch; images of different sizes run one by one.
            scores: From `make_scores`.
        """
        images, labels, _ = batch
        for stacked, classes in _stack_equal_sizes(images, labels):
            scores.update(resize(model(stacked), classes.shape[-2:]), classes)

    @override
    def positions(self, batch: Batch) -> Tensor:
        """Return the indices of the images in their source [B]."""
        return batch[2]


def _stack_equal_sizes(images: Sequence[Tensor], labels: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all images and label maps as one batch if their sizes are equal, and one by one otherwise."""
    sizes = {(image.shape, label.shape) for image, label in zip(images, labels, strict=True)}
    if len(sizes) == 1:
        yield torch.stack(list(images)), torch.stack(list(labels))
        return
    for image, label in zip(images, labels, strict=True):
        yield image[None], label[None]

"""Pooled features of a detector's backbone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from msgformer.tasks.dense.embedder import pool_last_map


class DetectorFeatures(nn.Module):
    """Mean of the last map of a detector's backbone.

    Args:
        detector: The detector.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector: Any = detector

    def forward(self, images: list[Tensor]) -> Tensor:
        """Compute features [B, D] of images [3, H, W], 0..1."""
        return torch.cat([self._embed(image) for image in images])

    def _embed(self, image: Tensor) -> Tensor:
        batch, _ = self.detector.transform([image])
        (size,) = batch.image_sizes
        return pool_last_map(self.detector.backbone.body, batch.tensors, size)

"""Pooled features of a segmenter's backbone."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.heads.backbone import STRIDES
from msgformer.tasks.dense.embedder import pool_last_map


class SegmenterFeatures(nn.Module):
    """Mean of the last map of a segmenter's backbone.

    Args:
        segmenter: The segmenter.
    """

    def __init__(self, segmenter: nn.Module) -> None:
        super().__init__()
        self.segmenter: Any = segmenter

    def forward(self, images: list[Tensor]) -> Tensor:
        """Compute features [B, D] of normalized images [3, h, w]."""
        return torch.cat([self._embed(image) for image in images])

    def _embed(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        padded = F.pad(image[None], (0, -width % STRIDES[-1], 0, -height % STRIDES[-1]))
        return pool_last_map(self.segmenter.backbone, padded, (height, width))

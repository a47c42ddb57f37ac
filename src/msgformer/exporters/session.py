"""Base class of sessions, which run exported files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torch import Tensor

from msgformer.checkpoints.export_card import ExportCard

Order = tuple[Tensor, Tensor]
"""Values that a graph sorts [B, n], and their indices in ascending order [B, n]."""


class Session(ABC):
    """Base class of sessions.

    Args:
        path: The file, for messages.
        card: Card of the file.
    """

    def __init__(self, path: Path, card: ExportCard) -> None:
        self.path, self.card = path, card

    @abstractmethod
    def run(self, images: Tensor) -> list[Tensor]:
        """Return the outputs for images [B, C, H, W] of a size and number that the file accepts."""

    def trace_orders(self, images: Tensor) -> list[Order]:  # noqa: ARG002
        """Return what the graph sorts for images [B, C, H, W], in model order; empty if it can't be traced."""
        return []

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return the outputs for any number of images [N, C, H, W], run in batches of the file's size.

        Raises:
            UserError: The file doesn't accept images of this size.
        """
        self.card.check_size(images.shape[-2], images.shape[-1], self.path)
        batch = self.card.sizes.fixed_batch or self.card.sizes.batch[1]
        parts = [self._run_part(part, batch) for part in images.float().cpu().split(batch)]
        return [torch.cat(outputs) for outputs in zip(*parts, strict=True)] if len(parts) > 1 else parts[0]

    def _run_part(self, images: Tensor, batch: int) -> list[Tensor]:
        missing = batch - len(images)
        if not missing or self.card.sizes.fixed_batch is None:
            return self.run(images)
        filled = torch.cat([images, images[-1:].expand(missing, -1, -1, -1)])
        return [output[: len(images)] for output in self.run(filled)]

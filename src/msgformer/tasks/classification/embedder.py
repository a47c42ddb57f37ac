"""Pooled features of a classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from msgformer.errors import UserError
from msgformer.tasks.opened_model import OpenedModel
from msgformer.tasks.prediction.predictor import InferenceConfig


class PooledFeatures(nn.Module):
    """Pooled features of a classifier of timm's kind: the input of its last layer.

    Args:
        model: The classifier.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, images: Tensor) -> Tensor:
        """Compute features [B, D] of images [B, C, H, W]."""
        features: Tensor = self.model.forward_head(self.model.forward_features(images), pre_logits=True)
        return features


def make_embedder(model: OpenedModel, config: InferenceConfig) -> Callable[[Tensor | list[Tensor]], Tensor]:
    """Return a function that computes features [B, D] of preprocessed images [B, C, H, W].

    Args:
        model: The classifier.
        config: Device and precision.

    Raises:
        UserError: The model is an exported file, or has no features to pool.
    """
    if not hasattr(model.module, "forward_head"):
        raise UserError(f"embed: {model.card.model} has no pooled features; give another model")
    return config.placement().place(PooledFeatures(model.for_inference(optimized=config.optimize)))

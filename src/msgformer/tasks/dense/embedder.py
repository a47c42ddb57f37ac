"""Pooled features of detectors and segmenters: the mean of the last map of the backbone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from msgformer.heads.backbone import STRIDES
from msgformer.tasks.opened_model import OpenedModel
from msgformer.tasks.prediction.predictor import InferenceConfig


def make_embedder(
    model: OpenedModel, config: InferenceConfig, features: Callable[[nn.Module], nn.Module]
) -> Callable[[Tensor | list[Tensor]], Tensor]:
    """Return a function that computes the features [B, D] of model inputs [3, H, W].

    Args:
        model: The detector or segmenter.
        config: Device and precision.
        features: Wraps the model's module in one that computes features [B, D] of a list of inputs.

    Raises:
        UserError: The model is an exported file.
    """
    model.module  # noqa: B018  (raises UserError for an exported file)
    run = config.placement().place(features(model.for_inference(optimized=config.optimize)))
    return lambda images: run(list(images))


def pool_last_map(backbone: Any, images: Tensor, size: tuple[int, int]) -> Tensor:
    """Average the backbone's last map over the tokens of the image, without those of the padding.

    Args:
        backbone: Maps images to feature maps of strides 4 to 32.
        images: Normalized and padded images [1, 3, H, W].
        size: Height and width of the image without the padding.

    Returns:
        Features [1, D].
    """
    last: Tensor = list(backbone(images))[-1]
    height, width = (-(-side // STRIDES[-1]) for side in size)
    return last[..., :height, :width].mean((2, 3))

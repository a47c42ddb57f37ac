"""Runs a trained segmenter on batches of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from msgformer.config.dense_data_options import SegmentImageOptions
from msgformer.data.segmentation.label_scheme import IGNORED
from msgformer.data.segmentation.transforms import SegmentEval
from msgformer.heads.segmentation.upernet import resize
from msgformer.tasks.opened_model import OpenedModel
from msgformer.tasks.prediction.predictor import InferenceConfig, Predictor, PreprocessedImage
from msgformer.tasks.segmentation.record import SegmentationLayout
from msgformer.tasks.segmentation.result import SegmentationResult

if TYPE_CHECKING:
    from PIL import Image

NO_CLASSES = np.zeros((0, 0), np.uint8)


class SegmentationPredictor(Predictor):
    """Runs a trained segmenter on batches.

    Args:
        model: The segmenter.
        config: Device, precision and batches.
    """

    default_batch_size = 1
    thumbnail_suffices = False

    def __init__(self, model: OpenedModel, config: InferenceConfig) -> None:
        super().__init__(model, config)
        described: Any = model.module if model.session is None else model.session.card
        self.eval_transform = SegmentEval(image_options(model), described.mean, described.std)

    def segment(self, images: Tensor) -> Tensor:
        """Return logits [B, K, h, w] of normalized images [B, 3, h, w].

        Raises:
            UserError: A value is NaN.
        """
        return self._require_numbers(self._model.runner(self.config)(images))

    @cached_property
    def layout(self) -> SegmentationLayout:
        """One row per image with the areas of all classes."""
        return SegmentationLayout(self.class_names)

    @property
    def transform(self) -> Callable[[Image.Image], Tensor]:
        """Converts an RGB image to a normalized tensor [3, h, w] at the size of evaluation."""
        return self.eval_transform.image

    def run(self, inputs: Tensor | list[Tensor], images: Sequence[PreprocessedImage]) -> list[SegmentationResult]:  # type: ignore[override]
        """Classify the pixels of a batch of images; images of different sizes run one by one.

        Args:
            inputs: Normalized images [B, 3, h, w], or [3, h, w] each.
            images: The B images of these inputs.

        Returns:
            One result per image.
        """
        if isinstance(inputs, Tensor):
            logits = list(self.segment(inputs))
        else:
            logits = [self.segment(one[None])[0] for one in inputs]
        return [
            self._result(image, self._class_map(found, image.size)) for image, found in zip(images, logits, strict=True)
        ]

    @staticmethod
    @torch.inference_mode()
    def _class_map(logits: Tensor, size: tuple[int, int]) -> np.ndarray:
        """Return the class of each pixel, uint8 [H, W], or uint16 for more than 255 classes, of logits [K, h, w]."""
        is_byte = len(logits) <= IGNORED
        return resize(logits[None], size)[0].argmax(0).cpu().numpy().astype(np.uint8 if is_byte else np.uint16)

    def failed(self, image: PreprocessedImage) -> SegmentationResult:
        """Return a result without classes."""
        return self._result(image, NO_CLASSES)

    def _result(self, image: PreprocessedImage, classes: np.ndarray) -> SegmentationResult:
        return SegmentationResult(
            image.source.name,
            self.class_names,
            classes,
            error=image.error,
            source=image.source,
            pixels=image.pixels,
        )


def image_options(model: OpenedModel) -> SegmentImageOptions:
    """Return the image options that a segmenter was trained with."""
    return SegmentImageOptions(**model.card.preprocessing)

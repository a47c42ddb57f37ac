"""Runs a trained classifier on batches of images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from msgformer.checkpoints.card import ModelCard
from msgformer.data.preprocessing import Preprocessing, eval_transform
from msgformer.errors import UserError
from msgformer.model_names import MODELS
from msgformer.tasks.classification.record import ClassificationLayout
from msgformer.tasks.classification.result import TOP_K, ClassificationResult
from msgformer.tasks.opened_model import OpenedModel
from msgformer.tasks.prediction.predictor import InferenceConfig, Predictor, PreprocessedImage

if TYPE_CHECKING:
    from msgformer.data.preprocessing import Transform

NO_PROBABILITIES = np.zeros(0, np.float32)


class ClassificationPredictor(Predictor):
    """Runs a trained classifier on batches.

    Args:
        model: The classifier.
        config: Device, precision and batches.
        top_k: Number of classes in records; all if there are fewer.
        flip: Average the probabilities of an image and of its mirror image.
        img_size: Side of a square, or height and width, that images are resized to; None for that of training.
        **changes: Further options of the preprocessing; None keeps those of training.

    Attributes:
        preprocessing: The preprocessing with these changes.

    Raises:
        UserError: The device can't be used, or the model takes no images of that size.
    """

    default_batch_size = 64
    thumbnail_suffices = True

    def __init__(
        self,
        model: OpenedModel,
        config: InferenceConfig,
        *,
        top_k: int = TOP_K,
        flip: bool = False,
        img_size: int | tuple[int, int] | None = None,
        **changes: Any,
    ) -> None:
        super().__init__(model, config)
        self.top_k = min(top_k, len(self.class_names))
        self.flip = flip
        self.preprocessing = _changed(model.card, img_size, changes)
        if self.preprocessing.input_size[1:] != model.card.img_size:
            self._try(model.card, self.preprocessing.input_size[1:])

    @cached_property
    def transform(self) -> Transform:
        """Converts an RGB image to a normalized tensor [C, H, W]."""
        return eval_transform(self.preprocessing)

    @property
    def min_side(self) -> int:
        """The ``min_side`` of the preprocessing."""
        return self.preprocessing.min_side

    @property
    def layout(self) -> ClassificationLayout:
        """One row per image with ``top_k`` classes."""
        return ClassificationLayout(self.top_k)

    @torch.inference_mode()
    def log_probabilities(self, images: Tensor) -> Tensor:
        """Compute the logarithms of the probabilities.

        Args:
            images: Preprocessed images [B, C, H, W].

        Returns:
            Logarithms [B, K] on the CPU.

        Raises:
            UserError: A value is NaN.
        """
        found = self._logits(images).log_softmax(-1)
        if self.flip:
            mirrored = self._logits(images.flip(-1)).log_softmax(-1)
            found = torch.logaddexp(found, mirrored) - math.log(2)
        return self._require_numbers(found.cpu())

    def run(self, inputs: Tensor | list[Tensor], images: Sequence[PreprocessedImage]) -> list[ClassificationResult]:  # type: ignore[override]
        """Classify a batch of images.

        Args:
            inputs: Preprocessed images [B, C, H, W].
            images: The B images of these inputs.

        Returns:
            One result per image.
        """
        assert isinstance(inputs, Tensor)
        rows = self.log_probabilities(inputs).exp().numpy()
        return [self._result(image, row) for image, row in zip(images, rows, strict=True)]

    def failed(self, image: PreprocessedImage) -> ClassificationResult:
        """Return a result without probabilities."""
        return self._result(image, NO_PROBABILITIES)

    def _result(self, image: PreprocessedImage, probabilities: np.ndarray) -> ClassificationResult:
        return ClassificationResult(
            image.source.name,
            self.class_names,
            probabilities,
            self.top_k,
            error=image.error,
            source=image.source,
            pixels=image.pixels,
        )

    @cached_property
    def _logits(self) -> Callable[[Tensor], Tensor]:
        model, size = self._model, self.preprocessing.input_size[1:]
        if self.config.backend == "mindspore":
            return _mindspore_logits(model)
        if size == model.card.img_size or not _has_fixed_size(model.card):
            return model.runner(self.config)
        resized = model.for_inference(optimized=self.config.optimize)
        _resize(resized, model.card, size)
        return self.config.placement().place(resized)

    def _try(self, card: ModelCard, size: tuple[int, int]) -> None:
        """Check that the model takes images of another size than that of training."""
        try:
            self.log_probabilities(torch.zeros(1, *self.preprocessing.input_size))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise _no_such_size(card, size, error) from error


def _mindspore_logits(model: OpenedModel) -> Callable[[Tensor], Tensor]:
    from msgformer.mindspore_backend import mindspore_logits

    if model.session is not None:
        raise UserError(f"backend: {model.name} is an exported file, which MindSpore can't run; leave it out")
    return mindspore_logits(model.module, model.card)  # MindSpore needs the unoptimized weights


def _changed(card: ModelCard, img_size: int | tuple[int, int] | None, changes: dict[str, Any]) -> Preprocessing:
    """Return the card's preprocessing with these changes."""
    settings = Preprocessing.from_dict(card.preprocessing)
    given = {key: value for key, value in changes.items() if value is not None}
    if img_size is not None:
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        given["input_size"] = (settings.input_size[0], height, width)
    return dataclasses.replace(settings, **given)


def _has_fixed_size(card: ModelCard) -> bool:
    """Return whether a model must be adapted to another image size, unlike this package's models."""
    config = None if card.model in MODELS else get_pretrained_cfg(card.model)
    return config is not None and bool(config.fixed_input_size)


def _resize(model: nn.Module, card: ModelCard, size: tuple[int, int]) -> None:
    try:
        model.set_input_size(img_size=size)  # type: ignore[operator]
    except (AssertionError, AttributeError, RuntimeError, ValueError) as error:
        raise _no_such_size(card, size, error) from error


def _no_such_size(card: ModelCard, size: tuple[int, int], error: Exception) -> UserError:
    trained = " x ".join(map(str, card.img_size))
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return UserError(
        f"img_size: {card.model} of {trained} takes no images of {size[0]} x {size[1]} ({reason}); give another size"
    )

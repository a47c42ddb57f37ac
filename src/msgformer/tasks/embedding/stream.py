"""Stream of pooled features of images, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from msgformer.config.data_options import OnBadImage
from msgformer.tasks.opened_model import OpenedModel
from msgformer.tasks.prediction.predictor import Predictor
from msgformer.tasks.prediction.stream import stream_batches

if TYPE_CHECKING:
    from msgformer.data.files.inputs import ImageInput


@dataclass(frozen=True)
class FeatureBatch:
    """Pooled features of the readable images of a batch.

    Attributes:
        names: Names of the readable images.
        features: Their features, float32 [B, D].
        skipped: Names of the images that can't be read.
    """

    names: list[str]
    features: np.ndarray
    skipped: list[str]


def stream_embeddings(
    model: OpenedModel, predictor: Predictor, inputs: Iterable[ImageInput], on_bad_image: OnBadImage = "stop"
) -> Iterator[FeatureBatch]:
    """Compute pooled features in the order of the inputs, one batch at a time.

    Args:
        model: The model.
        predictor: Provides the preprocessing and the batch size.
        inputs: The images, which are consumed lazily.
        on_bad_image: "stop" at an image that can't be read, or "skip" it.

    Raises:
        UserError: An image can't be read, or the model is an exported file, which has no features.
    """
    embed = model.embedder(predictor.config)
    for batch in stream_batches(predictor, inputs, on_bad_image):
        features = np.zeros((0, 0), np.float32) if batch.inputs is None else embed(batch.inputs).cpu().numpy()
        skipped = [one.source.name for one in batch.images if one.error is not None]
        yield FeatureBatch([one.source.name for one in batch.readable], features, skipped)

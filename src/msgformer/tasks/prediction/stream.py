"""Stream of predictions: images are loaded and predicted batch by batch, with few batches in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal

import numpy as np
from torch.utils.data import DataLoader, Dataset

from msgformer.config.data_options import OnBadImage
from msgformer.data.files.inputs import ScaledInput
from msgformer.data.loading.loader import default_workers
from msgformer.data.loading.workers import start_worker
from msgformer.errors import UserError
from msgformer.tasks.prediction.base import PredictionResult
from msgformer.tasks.prediction.predictor import Batch, Predictor, PreprocessedImage, collate, collate_until_error

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from msgformer.data.files.inputs import ImageInput
    from msgformer.data.files.value_range import ValueRange

Keep = Literal["nothing", "small", "whole"]
"""Pixels of the image that are stored beside the model's input: none, a small copy for a contact sheet, or all."""

CELL = 160
"""Longer side in pixels of a small copy."""


class PreprocessedDataset(Dataset[PreprocessedImage]):
    """Data set of preprocessed images, whose indices are `ImageInput` objects.

    Args:
        transform: Converts an image to a tensor.
        min_side: Smallest side in pixels at which a JPEG may be decoded; 0 for its full size only.
        keep: Pixels of the image to store.
        value_range: Values of black and white in images of more than 8 bits.
    """

    def __init__(
        self,
        transform: Callable[[Image.Image], Tensor],
        min_side: int = 0,
        keep: Keep = "nothing",
        value_range: ValueRange | None = None,
    ) -> None:
        self.transform, self.min_side, self.keep, self.value_range = transform, min_side, keep, value_range

    def __getitem__(self, source: ImageInput) -> PreprocessedImage:
        if self.value_range is not None:
            source = ScaledInput(source, self.value_range)
        try:
            image = source.load(self.min_side)
        except UserError as error:
            return PreprocessedImage(source.reference(), (0, 0), error=str(error))
        size = image.height, image.width
        return PreprocessedImage(source.reference(), size, self.transform(image), self._copy_pixels(image))

    def _copy_pixels(self, image: Image.Image) -> np.ndarray | None:
        if self.keep == "nothing":
            return None
        if self.keep == "small":
            image = image.copy()
            image.thumbnail((CELL, CELL))
        return np.asarray(image)


def stream_batches(
    predictor: Predictor,
    inputs: Iterable[ImageInput],
    on_bad_image: OnBadImage = "stop",
    keep: Keep = "nothing",
) -> Iterator[Batch]:
    """Load and preprocess images in the order of the inputs, one batch at a time.

    Args:
        predictor: Provides the preprocessing and the batch size.
        inputs: The images, which are consumed lazily.
        on_bad_image: "stop" at an image that can't be read, after the images before it, or "skip" it, so that its
            entry in the batch holds the error.
        keep: Pixels of the images to store.

    Raises:
        UserError: An image can't be read, with "stop".
    """
    collate_batch = collate if on_bad_image == "skip" else collate_until_error
    images = PreprocessedDataset(predictor.transform, predictor.min_side, keep, predictor.value_range)
    for batch in _load_batches(predictor, images, iter(inputs), collate_batch):
        failed = batch.images[-1].error if on_bad_image == "stop" and batch.images else None
        if failed is None:
            yield batch
            continue
        if len(batch.images) > 1:
            yield batch._replace(images=batch.images[:-1])
        raise UserError(failed)


def _load_batches(
    predictor: Predictor,
    images: PreprocessedDataset,
    inputs: Iterator[ImageInput],
    collate_batch: Callable[[Sequence[PreprocessedImage]], Batch],
) -> Iterator[Batch]:
    """Load and preprocess batches, in worker processes if there are several batches."""
    batch_size, workers = predictor.batch_size, predictor.config.workers
    first = list(islice(inputs, batch_size + 1))
    given = chain(first, inputs)
    if any(one.carries_pixels for one in first):  # sending pixels to workers is slower than transforming them here
        while batch := [images[one] for one in islice(given, batch_size)]:
            yield collate_batch(batch)
        return
    if workers is None:
        workers = default_workers() if len(first) > batch_size else 0
    yield from DataLoader(
        images,
        batch_size,
        sampler=given,  # any iterable will do
        num_workers=workers,
        collate_fn=collate_batch,
        worker_init_fn=start_worker if workers else None,
    )


def stream_predictions(
    predictor: Predictor,
    inputs: Iterable[ImageInput],
    on_bad_image: OnBadImage = "stop",
    keep: Keep = "nothing",
) -> Iterator[list[PredictionResult]]:
    """Predict images in the order of the inputs, one batch at a time.

    Args:
        predictor: Runs the model.
        inputs: The images, which are consumed lazily.
        on_bad_image: "stop" at an image that can't be read, after the images before it, or "skip" it, so that its
            result holds the error.
        keep: Pixels of the images to store in the results.

    Raises:
        UserError: An image can't be read, with "stop".
    """
    for batch in stream_batches(predictor, inputs, on_bad_image, keep):
        yield _predict_batch(predictor, batch)


def _predict_batch(predictor: Predictor, batch: Batch) -> list[PredictionResult]:
    """Predict the readable images of a batch, and return the results of all images in order."""
    results = iter(() if batch.inputs is None else predictor.run(batch.inputs, batch.readable))
    return [next(results) if one.error is None else predictor.failed(one) for one in batch.images]

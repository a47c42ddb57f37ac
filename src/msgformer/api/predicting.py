"""A trained model asked about images that nobody has labelled: a stream of answers, a few batches in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from msgformer.api.answering import Answerer
from msgformer.api.predictions import Prediction
from msgformer.data.inputs import ImageInput
from msgformer.data.module import default_workers
from msgformer.data.options import OnBadImage
from msgformer.data.preprocessing import eval_transform
from msgformer.data.workers import start_worker
from msgformer.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

    from msgformer.data.preprocessing import Transform


class Loaded(NamedTuple):
    """An image as a worker hands it on.

    Attributes:
        name: What it is called.
        tensor: The model's input [channels, height, width]; None if it can't be read.
        thumbnail: A small copy [height, width, 3], if one is asked for.
        error: Why it can't be read.
    """

    name: str
    tensor: Tensor | None
    thumbnail: np.ndarray | None
    error: str | None


class Group(NamedTuple):
    """Images that are answered together: those that can be read as one tensor [B, channels, height, width]."""

    images: Tensor | None
    loaded: list[Loaded]


class Answer(NamedTuple):
    """A prediction, and the small copy of its image if one was asked for."""

    prediction: Prediction
    thumbnail: Image | None


class Pictures(Dataset[Loaded]):
    """Images as model inputs, which a loader asks for by :class:`ImageInput` instead of by number.

    Args:
        transform: From a picture to a tensor.
        thumbnail: Longest side of the small copies; 0: none.
        least_side: That of the preprocessing: how small a JPEG may be decoded, 0 for never smaller than it is.
    """

    def __init__(self, transform: Transform, thumbnail: int, least_side: int = 0) -> None:
        self.transform, self.thumbnail, self.least_side = transform, thumbnail, least_side

    def __getitem__(self, wanted: ImageInput) -> Loaded:
        try:
            image = wanted.load(self.least_side)
        except UserError as error:
            return Loaded(wanted.name, None, None, str(error))
        small = None
        if self.thumbnail:
            copy = image.copy()
            copy.thumbnail((self.thumbnail, self.thumbnail))
            small = np.asarray(copy)
        return Loaded(wanted.name, self.transform(image), small, None)


def group(loaded: list[Loaded]) -> Group:
    """One tensor of many: it passes between processes as one file."""
    tensors = [one.tensor for one in loaded if one.tensor is not None]
    return Group(torch.stack(tensors) if tensors else None, [one._replace(tensor=None) for one in loaded])


def answer(
    answerer: Answerer,
    inputs: Iterable[ImageInput],
    top_k: int,
    on_bad_image: OnBadImage = "stop",
    batch_size: int = 64,
    workers: int | None = None,
    thumbnail: int = 0,
) -> Iterator[list[Answer]]:
    """Answers in the order of the inputs, a batch at a time.

    Args:
        answerer: The model.
        inputs: What to ask about; they are taken from it as they are needed.
        top_k: Classes to name for each image; all if there are fewer.
        on_bad_image: At an image that can't be read, "stop" after the answers before it, or "skip" it with an answer
            that says so.
        batch_size: Images a batch.
        workers: Processes that read images; by default none for one batch, else one less than there are cores.
        thumbnail: Longest side of small copies to give with the answers; 0: none.

    Raises:
        UserError: an image can't be read, and isn't to be skipped.
    """
    inputs = iter(inputs)
    first = list(islice(inputs, batch_size + 1))
    if workers is None:
        workers = default_workers() if len(first) > batch_size else 0
    loader = DataLoader(
        Pictures(eval_transform(answerer.preprocessing), thumbnail, answerer.preprocessing.least_side),
        batch_size,
        sampler=chain(first, inputs),  # a loader takes whatever can be gone through
        num_workers=workers,
        collate_fn=group,
        worker_init_fn=start_worker if workers else None,
    )
    for batch in loader:
        answers = _answers(answerer, batch, min(top_k, len(answerer.card.classes)))
        errors = [place for place, one in enumerate(answers) if one.prediction.error is not None]
        if errors and on_bad_image == "stop":
            yield answers[: errors[0]]
            raise UserError(str(answers[errors[0]].prediction.error))
        yield answers


def _answers(answerer: Answerer, batch: Group, top_k: int) -> list[Answer]:
    from PIL import Image

    rows: Iterator[tuple[list[float], list[int]]] = iter(())
    if batch.images is not None:
        top = answerer(batch.images).exp().topk(top_k)
        rows = zip(top.values.tolist(), top.indices.tolist(), strict=True)
    answers = []
    for one in batch.loaded:
        if one.error is not None:
            answers.append(Answer(Prediction(one.name, [], [], one.error), None))
            continue
        chances, indices = next(rows)
        small = None if one.thumbnail is None else Image.fromarray(one.thumbnail)
        answers.append(
            Answer(Prediction(one.name, [answerer.card.classes[index] for index in indices], chances), small)
        )
    return answers

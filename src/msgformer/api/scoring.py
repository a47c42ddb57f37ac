"""A trained model scored on labelled images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from msgformer.api.answering import Answerer
from msgformer.api.following import followed
from msgformer.data.checking import Skipped
from msgformer.data.digits import NAME as DIGITS
from msgformer.data.module import default_workers, make_loader
from msgformer.data.options import OnBadImage
from msgformer.data.preprocessing import eval_transform
from msgformer.data.samples import UNREADABLE, Samples
from msgformer.data.sampling import EpochSampler
from msgformer.data.sources import Source
from msgformer.data.subsets import open_evaluation, reopen_validation
from msgformer.errors import UserError
from msgformer.insight.outcome import Outcome, collect
from msgformer.training.checkpoint import ModelCard
from msgformer.training.options import Progress


@dataclass(frozen=True)
class Scored:
    """A model's answers, and what they are about.

    Attributes:
        answerer: The model.
        data: What to call the images.
        source: Where they come from.
        positions: Which picture of the source each answer is about.
        outcome: The answers.
        skipped: Pictures that were left out.
    """

    answerer: Answerer
    data: str
    source: Source
    positions: list[int]
    outcome: Outcome
    skipped: list[Skipped]

    def fields(self) -> dict[str, Any]:
        """The fields of ``EvaluateResult`` but for the checkpoint."""
        outcome = self.outcome
        return {
            "data": self.data,
            "images": len(outcome),
            "skipped": self.skipped,
            "classes": len(outcome.classes),
            "top1": outcome.accuracy(1),
            "top5": outcome.accuracy(5),
            "loss": outcome.loss,
            "calibration_error": outcome.calibration_error,
            "preprocessing": self.answerer.preprocessing.to_dict(),
            "flip": self.answerer.flip,
            "per_class": outcome.class_scores(),
        }

    def name(self, index: int) -> str:
        """What the picture of answer ``index`` is called."""
        return self.source.name(self.positions[index])

    def picture(self, index: int) -> Any:
        """The picture of answer ``index`` in RGB."""
        return self.source.load(self.positions[index])


def score(
    checkpoint: Path,
    answerer: Answerer,
    data: str | None = None,
    on_bad_image: OnBadImage = "stop",
    batch_size: int = 128,
    workers: int | None = None,
    progress: Progress = "auto",
) -> Scored:
    """Ask a trained model about labelled images.

    Args:
        checkpoint: Where the model comes from; beside it lies the record of what its run held out.
        answerer: The model.
        data: Folder or location of the images; None: those that the run held out.
        on_bad_image: What to do about images that can't be read.
        batch_size: Images a batch.
        workers: Processes that read images; by default none for one batch, else one less than there are cores.
        progress: How progress is shown.

    Raises:
        UserError: the data can't be used, or not one of its images.
    """
    source, name = _evaluation_set(checkpoint, data, answerer.card)
    count = len(source.labels)
    preprocessing = answerer.preprocessing
    transform, least_side = eval_transform(preprocessing), preprocessing.least_side
    samples = Samples(source, transform, on_bad_image=on_bad_image, least_side=least_side)
    if workers is None:
        workers = default_workers() if count > batch_size else 0
    loader = make_loader(samples, EpochSampler(count, 0, shuffle=False), batch_size, workers)
    positions: list[int] = []
    unread: list[int] = []

    def answers() -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels, where in followed(loader, lambda batch: len(batch[1]), progress, str(checkpoint), count):
            readable = labels != UNREADABLE
            positions.extend(where[readable].tolist())
            unread.extend(where[~readable].tolist())
            if readable.any():
                yield labels[readable], answerer(images[readable])
        if not positions:
            raise UserError(f"no image of {name} can be read: {source.probe(0, whole=True)}")

    outcome = collect(tuple(answerer.card.classes), answers())
    skipped = [Skipped("val", source.name(index), str(source.probe(index, whole=True))) for index in unread]
    return Scored(answerer, name, source, positions, outcome, skipped)


def _evaluation_set(checkpoint: Path, data: str | None, card: ModelCard) -> tuple[Source, str]:
    """The images to score on, and what to call them."""
    if data is not None:
        return open_evaluation(data, card.classes), data
    if not card.data:
        raise UserError(f"{checkpoint} doesn't lie in the folder of its run; give --data FOLDER")
    path, fraction, seed = (card.data[key] for key in ("path", "val_fraction", "seed"))
    held_out = reopen_validation(checkpoint.parent, path, card.classes, fraction, seed)
    return held_out, f"the held-out part of {path or DIGITS}"

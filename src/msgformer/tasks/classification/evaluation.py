"""Evaluation of a trained classifier on labeled images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from msgformer.checkpoints.card import ModelCard
from msgformer.config.data_options import EvaluationSplit
from msgformer.data.bundled.digits import NAME as DIGITS
from msgformer.data.classification.samples import UNREADABLE, Samples
from msgformer.data.classification.skipped import Skipped
from msgformer.data.classification.subsets import reopen_validation
from msgformer.data.files.sources import Source
from msgformer.data.loading.loader import default_workers, make_loader
from msgformer.data.loading.sampling import EpochSampler
from msgformer.data.loading.split import Subset
from msgformer.errors import UserError
from msgformer.tasks.classification.evaluation_set import BUNDLED, open_evaluation_set
from msgformer.tasks.classification.outcome import Outcome, collect_outcome
from msgformer.tasks.classification.predictor import ClassificationPredictor
from msgformer.tasks.classification.score_records import ClassScore
from msgformer.tasks.classification.scores import EvaluateResult
from msgformer.tasks.evaluation import CLASSES, METRICS, PARTS, Evaluation, EvaluationOptions, require_data
from msgformer.tasks.opened_model import OpenedModel
from msgformer.tasks.prediction.predictor import InferenceConfig
from msgformer.tasks.progress import track_progress
from msgformer.utils.csv_file import write_csv

if TYPE_CHECKING:
    from PIL import Image

    from msgformer.visual.page import Section, Tile

PREDICTIONS = "predictions.csv"
BATCH_SIZE = 128
"""Images per batch by default."""


@dataclass(frozen=True)
class ClassificationEvaluation(Evaluation):
    """A model's predictions on labeled images.

    Attributes:
        checkpoint: File or folder of the model.
        predictor: The model's predictor.
        data: Name of the images.
        source: The images.
        positions: Index in the source of the image of each prediction.
        outcome: The predictions.
        skipped: Images that were left out.
        num_parameters: Parameters of the model; None for an exported file.
    """

    checkpoint: Path
    predictor: ClassificationPredictor
    data: str
    source: Source
    positions: list[int]
    outcome: Outcome
    skipped: list[Skipped]
    num_parameters: int | None

    @cached_property
    def result(self) -> EvaluateResult:
        """The scores."""
        outcome = self.outcome
        return EvaluateResult(
            checkpoint=self.checkpoint,
            data=self.data,
            images=len(outcome),
            skipped=self.skipped,
            classes=len(outcome.classes),
            top1=outcome.accuracy(1),
            top5=outcome.accuracy(5),
            loss=outcome.loss,
            calibration_error=outcome.calibration_error,
            preprocessing=self.predictor.preprocessing.to_dict(),
            flip=self.predictor.flip,
            per_class=outcome.class_scores(),
        )

    def name(self, index: int) -> str:
        """Return the name of the image of prediction ``index``."""
        return self.source.name(self.positions[index])

    def image(self, index: int) -> Image.Image:
        """Return the image of prediction ``index`` in RGB."""
        return self.source.load(self.positions[index])

    def write(self, folder: Path) -> None:
        """Write ``metrics.json``, ``per_class.csv`` and ``predictions.csv``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / METRICS).write_text(f"{self.result.render(as_json=True)}\n", encoding="utf-8")
        write_csv(folder / CLASSES, [field.name for field in fields(ClassScore)], map(astuple, self.result.per_class))
        ranks = range(1, self.outcome.ranked.shape[1] + 1)
        named = [name for rank in ranks for name in (f"class_{rank}", f"probability_{rank}")]
        write_csv(folder / PREDICTIONS, ["image", "true", "correct", "loss", *named], self._rows())

    def _rows(self) -> Iterator[list[object]]:
        outcome = self.outcome
        for index in range(len(outcome)):
            ranks = zip(outcome.ranked[index], outcome.probabilities[index], strict=True)
            found = [cell for rank, value in ranks for cell in (outcome.classes[rank], f"{value:.7g}")]
            true, loss = outcome.classes[outcome.labels[index]], outcome.losses[index]
            yield [self.name(index), true, int(outcome.correct[index]), f"{loss:.7g}", *found]

    def tiles(self) -> list[Tile]:
        """Return accuracy, loss and calibration."""
        from msgformer.tasks.classification.report_sections import headline
        from msgformer.visual.page import Tile

        tiles = headline(self.outcome)
        if self.skipped:
            tiles.append(Tile("Left out", f"{len(self.skipped):,}", "images that can't be read"))
        return tiles

    def sections(self) -> list[Section]:
        """Return confusions, scores per class, calibration and galleries."""
        from msgformer.tasks.classification.report_sections import outcome_sections

        return outcome_sections(self.outcome, self.name, self.image)


def evaluate_classifier(
    model: OpenedModel, data: str | None, config: InferenceConfig, options: EvaluationOptions
) -> ClassificationEvaluation:
    """Score a trained classifier on labeled images.

    Args:
        model: The classifier.
        data: Folder or location of the images; None for those that the run held out.
        config: Device, precision and batches.
        options: Test-time options, and the handling of unreadable images.

    Raises:
        UserError: The data can't be used, or none of its images can be read.
    """
    require_data(model, data)
    predictor = ClassificationPredictor(model, config, **options.task_options)
    source, name = _evaluation_set(model, data, options.split)
    count = len(source.labels)
    samples = Samples(source, predictor.transform, on_bad_image=options.on_bad_image, min_side=predictor.min_side)
    batch_size, workers = config.batch_size or BATCH_SIZE, config.workers
    if workers is None:
        workers = default_workers() if count > batch_size else 0
    loader = make_loader(samples, EpochSampler(count, 0, shuffle=False), batch_size, workers)
    positions: list[int] = []
    unreadable: list[int] = []

    def predictions() -> Iterator[tuple[Tensor, Tensor]]:
        batches = track_progress(loader, lambda batch: len(batch[1]), config.progress, model.name, count)
        for images, labels, where in batches:
            readable = labels != UNREADABLE
            positions.extend(where[readable].tolist())
            unreadable.extend(where[~readable].tolist())
            if readable.any():
                yield labels[readable], predictor.log_probabilities(images[readable])
        if not positions:
            raise UserError(f"data: no image of {name} can be read: {source.probe(0, whole=True)}")

    outcome = collect_outcome(tuple(model.card.classes), predictions())
    skipped = [
        Skipped(options.split or "val", source.name(index), str(source.probe(index, whole=True)))
        for index in unreadable
    ]
    path = model.path or Path(model.card.model)
    return ClassificationEvaluation(path, predictor, name, source, positions, outcome, skipped, model.num_parameters)


def _evaluation_set(model: OpenedModel, data: str | None, split: EvaluationSplit | None) -> tuple[Source, str]:
    """Return the images to score on, and their name."""
    if data is not None or split == "all":
        return open_evaluation_set(model, data or model.data["path"] or BUNDLED, split)
    assert model.run is not None  # checked by require_data
    subset: Subset = split or "val"
    source = _reopen(model.data, model.card.classes, model.run, subset)
    return source, f"the {PARTS[subset]} part of {model.data['path'] or DIGITS}"


def held_out_images(card: ModelCard, run: Path) -> tuple[int, Callable[[int], Image.Image]]:
    """Return the number of images that a run held out, and a function that loads one.

    Args:
        card: The card of the run's model.
        run: The run folder.

    Raises:
        UserError: The images don't exist any more.
    """
    images = _reopen(card.data, card.classes, run, "val")
    return len(images.labels), images.load


def _reopen(data: dict[str, Any], classes: list[str], run: Path, subset: Subset) -> Source:
    return reopen_validation(run, data["path"], classes, data["val_fraction"], data["seed"], subset)

"""Common base of the evaluations of detectors and segmenters: batches of annotated images, and files of scores."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch.utils.data import Dataset

from msgformer.config.data_options import OnBadImage
from msgformer.data.classification.skipped import Skipped
from msgformer.data.dense.samples import DenseBatch, DenseSample, collate
from msgformer.data.loading.loader import default_workers, make_loader
from msgformer.data.loading.sampling import EpochIndex, EpochSampler
from msgformer.data.loading.split import Subset
from msgformer.errors import UserError
from msgformer.tasks.dense.report_sections import Example, dense_headline, dense_sections
from msgformer.tasks.dense.scores import DenseEvaluateResult
from msgformer.tasks.evaluation import CLASSES, METRICS, Evaluation
from msgformer.tasks.prediction.predictor import InferenceConfig
from msgformer.tasks.progress import track_progress
from msgformer.utils.csv_file import write_csv

if TYPE_CHECKING:
    from msgformer.visual.page import Section, Tile

BUNDLED = "the bundled scenes"
"""Name of the images of runs without a data folder."""


@dataclass(frozen=True)
class DenseEvaluation(Evaluation):
    """Scores of a detector or segmenter.

    Attributes:
        result: The scores.
        num_parameters: Parameters of the model; None for an exported file.
        detections: Detections in COCO's results format, by file name.
        examples: Images with annotations and predictions, for a report.
    """

    result: DenseEvaluateResult
    num_parameters: int | None
    detections: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    examples: Sequence[Example] = ()

    def write(self, folder: Path) -> None:
        """Write ``metrics.json``, ``per_class.csv`` and detections in COCO's results format."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / METRICS).write_text(f"{self.result.render(as_json=True)}\n", encoding="utf-8")
        per_class = self.result.per_class
        columns = ["class", *next(iter(per_class.values()))]
        write_csv(folder / CLASSES, columns, ([name, *scores.values()] for name, scores in per_class.items()))
        for name, detections in self.detections.items():
            (folder / name).write_text(json.dumps(detections), encoding="utf-8")

    def tiles(self) -> list[Tile]:
        """Return the most important scores, and the number of skipped images."""
        from msgformer.visual.page import Tile

        skipped = self.result.skipped
        left_out = [Tile("Left out", f"{len(skipped):,}", "images that can't be read")] if skipped else []
        return [*dense_headline(self.result.scores), *left_out]

    def sections(self) -> list[Section]:
        """Return the sections of scores per class and of examples."""
        return dense_sections(self.result.scores, self.result.per_class, self.examples)


class Unreadable(NamedTuple):
    """Placeholder of a sample whose image or annotation can't be read.

    Attributes:
        position: Index of the image in the source.
        reason: Why it can't be read.
    """

    position: int
    reason: str


class CheckedSamples(Dataset[DenseSample | Unreadable]):
    """Samples, with a placeholder instead of an exception for each unreadable one.

    Args:
        samples: The samples.
    """

    def __init__(self, samples: Dataset[DenseSample]) -> None:
        self.samples = samples

    def __getitem__(self, epoch_index: EpochIndex) -> DenseSample | Unreadable:
        try:
            return self.samples[epoch_index]
        except UserError as error:
            return Unreadable(epoch_index[1], str(error))


def _collate_readable(samples: Sequence[DenseSample | Unreadable]) -> tuple[DenseBatch | None, list[Unreadable]]:
    readable = [one for one in samples if isinstance(one, DenseSample)]
    return (collate(readable) if readable else None), [one for one in samples if isinstance(one, Unreadable)]


class DenseLoader:
    """Loads annotated images in order, and shows the progress.

    Args:
        samples: The images and annotations.
        source: Provides the names of the images.
        name: Name of the data, for messages.
        config: Batches, workers and progress.
        on_bad_image: "stop" at an image that can't be read, or "skip" and list it.
        subset: Subset of the images.

    Attributes:
        skipped: Reasons why images were left out, by index.
    """

    def __init__(
        self,
        samples: Any,
        source: Any,
        name: str,
        config: InferenceConfig,
        on_bad_image: OnBadImage,
        subset: Subset = "val",
    ) -> None:
        self.samples, self.source, self.name, self.config = samples, source, name, config
        self.subset = subset
        self.stops = on_bad_image == "stop"
        self.skipped: dict[int, str] = {}

    def __iter__(self) -> Iterator[DenseBatch]:
        count = len(self.samples)
        workers = default_workers() if self.config.workers is None else self.config.workers
        loader = make_loader(
            self.samples if self.stops else CheckedSamples(self.samples),
            EpochSampler(count, 0, shuffle=False),
            self.config.batch_size or 1,
            workers,
            collate=collate if self.stops else _collate_readable,
        )
        if self.stops:
            yield from track_progress(loader, lambda batch: len(batch.images), self.config.progress, "scoring", count)
            return
        for batch, unreadable in track_progress(loader, _size, self.config.progress, "scoring", count):
            self.skipped |= {one.position: one.reason for one in unreadable}
            if batch is not None:
                yield batch
        if len(self.skipped) == count:
            raise UserError(f"data: no image of {self.name} can be read: {next(iter(self.skipped.values()))}")

    def skipped_images(self) -> list[Skipped]:
        """Return the images that were left out."""
        return [Skipped(self.subset, self.source.name(position), reason) for position, reason in self.skipped.items()]


def _size(batch: tuple[DenseBatch | None, list[Unreadable]]) -> int:
    readable, unreadable = batch
    return len(unreadable) + (0 if readable is None else len(readable.images))


def data_name(path: str | None, split: str | None) -> str:
    """Return the name of the scored images.

    Args:
        path: Their folder; None for the bundled scenes.
        split: The user's subset; None for the default.
    """
    return path or BUNDLED if split is None else f"the {split} images of {path or BUNDLED}"


def nan_to_none(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Return scores with None in place of NaN."""
    return {name: None if math.isnan(value) else value for name, value in scores.items()}

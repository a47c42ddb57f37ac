"""``msgformer evaluate``: scores of trained models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

from msgformer.api.dense_results import DenseEvaluateResult
from msgformer.api.mindspore import Library, check_backend
from msgformer.api.ranges import check_ranges
from msgformer.api.result import Result, text_table
from msgformer.api.runs import find_model
from msgformer.data.checking import Skipped
from msgformer.data.locations import resolve_data
from msgformer.data.options import Filter, OnBadImage
from msgformer.errors import UserError, shown
from msgformer.insight.records import ClassScore
from msgformer.training.options import Precision, Progress

MOST_ROWS = 20
"""Classes that the table lists: of more, the weakest ones."""


@dataclass(frozen=True)
class EvaluateResult(Result):
    """Scores of a model on a set of images.

    Attributes:
        checkpoint: The weights that were scored.
        data: What they were scored on.
        images: How many images that were.
        skipped: Images that were left out, because they can't be read.
        classes: How many classes the model tells apart.
        top1: Accuracy in per cent.
        top5: Likewise, the right class among the five likeliest.
        loss: Mean cross-entropy.
        calibration_error: Expected calibration error of the likeliest class in per cent, over 15 bins.
        preprocessing: How images were brought to the model's input.
        flip: Whether mirror images were asked about, too.
        per_class: Scores of each class, in the order of the model's outputs.
    """

    checkpoint: Path
    data: str
    images: int
    skipped: list[Skipped]
    classes: int
    top1: float
    top5: float
    loss: float
    calibration_error: float
    preprocessing: dict[str, Any]
    flip: bool
    per_class: list[ClassScore]

    @property
    def input(self) -> str:
        """How images were brought to the model's input, in few words."""
        settings = self.preprocessing
        _, height, width = settings["input_size"]
        flip = ", flipped too" if self.flip else ""
        return f"{height} x {width}, {settings['crop_mode']} {settings['crop_pct']:g}{flip}"

    def table(self) -> str:
        """The scores in one line, what they are of in another, and the classes."""
        weakest = sorted(self.per_class, key=lambda score: (score.images == 0, score.f1 or 0.0))
        few = len(weakest) <= MOST_ROWS
        rows = [
            (score.name, score.images, *map(_percent, (score.precision, score.recall, score.f1)))
            for score in (self.per_class if few else weakest[:MOST_ROWS])
        ]
        note = "" if few else f"\n(the weakest of {self.classes} classes; --output FOLDER writes them all)"
        return (
            f"top-1 {self.top1:.2f} %, top-5 {self.top5:.2f} %, loss {self.loss:.4f},"
            f" calibration error {self.calibration_error:.2f} %\n"
            f"{self.images} images ({self.input}) in {self.classes} classes from {self.data}, by {self.checkpoint}"
            + "".join(f"\nleft out: {shown(one.reason)}" for one in self.skipped)
            + f"\n\n{text_table(('CLASS', 'IMAGES', 'PRECISION', 'RECALL', 'F1'), rows)}{note}"
        )


@dataclass(frozen=True)
class Comparison(Result):
    """Scores of several models.

    Attributes:
        results: One a model, in the order in which they were given.
    """

    results: list[EvaluateResult]

    def table(self) -> str:
        """One row a model."""
        header = ("CHECKPOINT", "TOP-1", "TOP-5", "LOSS", "CALIBRATION", "IMAGES", "INPUT", "DATA")
        rows = [
            (
                one.checkpoint,
                _percent(one.top1),
                _percent(one.top5),
                f"{one.loss:.4f}",
                _percent(one.calibration_error),
                f"{one.images} ({len(one.skipped)} left out)" if one.skipped else one.images,
                one.input,
                one.data,
            )
            for one in self.results
        ]
        return text_table(header, rows)


@overload
def evaluate(checkpoint: str | Path, *args: Any, **kwargs: Any) -> EvaluateResult: ...
@overload
def evaluate(checkpoint: Sequence[str | Path], *args: Any, **kwargs: Any) -> EvaluateResult | Comparison: ...


def evaluate(  # type: ignore[misc]  # the command line reads this signature, which takes less than it could
    checkpoint: Path | list[Path],
    data: str | Path | None = None,
    *,
    output: Path | None = None,
    img_size: int | tuple[int, int] | None = None,
    crop_pct: float | None = None,
    crop_mode: Literal["center", "squash", "border"] | None = None,
    interpolation: Filter | None = None,
    flip: bool = False,
    scales: list[float] | None = None,
    on_bad_image: OnBadImage = "stop",
    batch_size: int | None = None,
    workers: int | None = None,
    accelerator: str = "auto",
    precision: Precision = "32-true",
    backend: Library = "torch",
    progress: Progress = "auto",
) -> EvaluateResult | DenseEvaluateResult | Comparison:
    """Score trained models on the images that their runs held out, or on others.

    A detector is scored by COCO's numbers, a segmenter by the overlap of its classes with the true ones.

    Args:
        checkpoint: Run folder, of which the best epoch is taken, a checkpoint in one, or a file of 'msgformer export';
            several are compared.
        data: Folder with val/, or with class folders, or SCHEME:LOCATION as in training; for other tasks a folder as
            in training; by default what the run held out.
        output: New folder to write metrics.json, per_class.csv and predictions.csv to; of several checkpoints, each
            gets a folder in there, beside comparison.csv. A detector's detections are written in COCO's results
            format, bbox_results.json and segm_results.json, instead of predictions.csv.
        img_size: Side of the square, or height and width, that images are brought to; by default as in training, like
            the next three.
        crop_pct: Side of the centre crop divided by the side that images are resized to.
        crop_mode: How an image of another shape is fitted: cut to the "center", "squash" it, or add a "border".
        interpolation: Filter for resizing.
        flip: Answer by the mean of the probabilities for an image and for its mirror image; not for detectors.
        scales: For segmenters: answer by the mean over these sizes, in parts of that of evaluation, such as
            [0.5, 0.75, 1, 1.25, 1.5, 1.75].
        on_bad_image: At images that can't be read, "stop", or "skip" and list them.
        batch_size: Images a batch; by default 128, for detectors and segmenters 1.
        workers: Processes that read images; by default one less than there are cores, at most 8.
        accelerator: "auto", "cpu", "gpu" or another that Lightning knows.
        precision: Number format, in Lightning's words.
        backend: Library that a classifier runs in: "torch", or "mindspore", an extra, on the CPU.
        progress: A "bar", "lines" or "none"; "auto" is a bar in a terminal.

    Returns:
        The scores; of several checkpoints, a comparison with the scores of each.

    Raises:
        UserError: a path isn't there or isn't what it should be, a number is out of range, or classes aren't the
            model's.
    """
    check_ranges({"batch_size": batch_size, "workers": workers, "img_size": img_size, "scales": scales})
    check_backend(backend, accelerator, precision)
    given = [checkpoint] if isinstance(checkpoint, str | Path) else checkpoint
    if not given:
        raise UserError("checkpoint: none is given; give a run folder")
    paths = [find_model(Path(path)) for path in given]
    resolved = None if data is None else resolve_data(data, layout=False)
    if output is not None:
        output = Path(output)
        _check_new(output)
    if crop_pct is not None and not 0 < crop_pct <= 1:
        raise UserError(f"crop_pct must be above 0 and at most 1, not {crop_pct:g}")

    from msgformer.api.exported import task_of

    given_settings: dict[str, Any] = dict(
        img_size=img_size, crop_pct=crop_pct, crop_mode=crop_mode, interpolation=interpolation
    )
    tasks = {task_of(path) for path in paths}
    if tasks != {"classify"}:
        given_settings["on_bad_image"] = None if on_bad_image == "stop" else on_bad_image
        given_settings["backend"] = None if backend == "torch" else backend
        _check_dense(tasks, len(paths), given_settings, flip, scales)
        from msgformer.api.dense_scoring import Looking, score_dense

        looking = Looking(batch_size or 1, workers, accelerator, precision, progress, scales or [1.0], flip)
        return score_dense(paths[0], resolved, output, looking)
    if scales is not None:
        raise UserError("scales is for segmenters, not for classifiers; leave it out")

    from msgformer.api.answering import Answerer
    from msgformer.api.score_files import write_comparison, write_scores
    from msgformer.api.scoring import score

    results: list[EvaluateResult] = []
    for path in paths:
        answerer = Answerer(path, accelerator, precision, flip=flip, backend=backend, **given_settings)
        scored = score(path, answerer, resolved, on_bad_image, batch_size or 128, workers, progress)
        result = EvaluateResult(checkpoint=path, **scored.fields())
        results.append(result)
        if output is not None:
            folder = output if len(paths) == 1 else output / f"{len(results)}-{path.resolve().parent.name}"
            write_scores(folder, result, scored)
    if len(results) == 1:
        return results[0]
    if output is not None:
        write_comparison(output, results)
    return Comparison(results)


def _check_dense(tasks: set[str], count: int, settings: dict[str, Any], flip: bool, scales: list[float] | None) -> None:
    """Refuse what detectors and segmenters have no use for; raises UserError."""
    if count > 1:
        raise UserError("checkpoint: only classifiers are compared; give one detector or segmenter at a time")
    (task,) = tasks
    for key, value in settings.items():
        if value is not None:
            raise UserError(f"{key} is for classifiers, but the checkpoint is of task {task}; leave it out")
    if task == "detect" and (flip or scales is not None):
        raise UserError(f"{'flip' if flip else 'scales'} is not for detectors; leave it out")


def _check_new(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        kind = "isn't empty" if output.is_dir() else "is a file"
        raise UserError(f"output: {output} {kind}; give a new folder")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"

"""``msgformer predict``: what images show."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgformer.checkpoints.model_location import find_trained_model
from msgformer.config.constraints import check_choices, check_ranges
from msgformer.config.data_options import OnBadImage
from msgformer.config.training_options import Precision, Progress
from msgformer.data.files.image_inputs import ImageInputs, open_inputs
from msgformer.errors import UserError
from msgformer.mindspore_backend import Library, check_backend
from msgformer.model_types import ImagesLike, ModelLike
from msgformer.runs.output_folder import check_new_folder
from msgformer.tasks.prediction.base import PredictionRecord
from msgformer.tasks.prediction.file import STDOUT, check_output, choose_format, is_folder
from msgformer.tasks.prediction.record_layout import Format
from msgformer.utils.result import Result, text_table


@dataclass(frozen=True)
class PredictResult(Result):
    """What images show.

    Attributes:
        task: "classify", "detect" or "segment".
        checkpoint: Weights that predicted.
        images: Number of images, including those of the calls that this one resumed.
        predictions: One per image, in the order in which the images were given; those of a folder by name. Empty if
            they were written to a file.
        skipped: Images that were left out because they can't be read.
        output: File that predictions were written to, or folder of drawn images and ``predictions.json``.
        contact_sheets: Files of the contact sheet.
    """

    task: str
    checkpoint: Path
    images: int
    predictions: list[Any] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    output: Path | None = None
    contact_sheets: list[Path] | None = None

    def table(self) -> str:
        """Return one row per image with its path and its prediction, or the path of the output."""
        lines = [f"contact sheet {path}" for path in self.contact_sheets or []]
        if self.output is not None and self.output != STDOUT:
            lines.insert(0, f"{self.images:,} images in {self.output}")
        if self.output == STDOUT or (self.output is not None and not self.predictions):
            return "\n".join(lines)
        rows: list[tuple[str, ...]] = [(one.image, *one.cells()) for one in self.predictions]
        rows += [(image, "left out: can't be read") for image in self.skipped]
        width = max(map(len, rows), default=2)
        return "\n".join([text_table([""] * width, [(*row, *[""] * (width - len(row))) for row in rows]), *lines])


def predict(
    checkpoint: ModelLike,
    images: ImagesLike,
    top_k: int | None = None,
    *,
    threshold: float | None = None,
    output: Path | None = None,
    format: Format | None = None,
    resume: bool = False,
    contact_sheet: Path | None = None,
    img_size: int | tuple[int, int] | None = None,
    on_bad_image: OnBadImage = "stop",
    batch_size: int | None = None,
    workers: int | None = None,
    accelerator: str = "auto",
    precision: Precision = "32-true",
    backend: Library = "torch",
    trust: bool = False,
    progress: Progress = "auto",
) -> PredictResult:
    """Predict what images show, or where.

    Any number of images is read and predicted in order, a few batches in memory. With an output every batch is written
    at once, so that a call which was stopped leaves whole predictions, and --resume continues after them.

    Args:
        checkpoint: Run folder, of which the best epoch is taken, a checkpoint in one, or a file of 'msgformer export'.
        images: Image files and http(s) URLs, folders whose images are taken with those of all sub-folders, tar files
            with images, videos, patterns such as 'photos/**/*.jpg', and "-" for a list of files, folders and tar files
            on standard input.
        top_k: Classes that a classifier names per image, 5 by default; all of them if there are fewer.
        threshold: Score from which on a detector's objects are reported and drawn, 0.5 by default.
        output: File to write predictions to instead of returning them, or "-" for standard output; or a new folder, for
            images with the predictions drawn on them and predictions.json.
        format: JSON lines ("jsonl"), "csv" or "parquet"; by default as the output's name ends.
        resume: Continue after the predictions that the output holds already; they are checked to be of the same images.
        contact_sheet: PNG file to draw the images to, with what they show; of many, further files are numbered.
        img_size: For classifiers, side of the square, or height and width, that images are resized to; by default as in
            training.
        on_bad_image: At an image that can't be read, "stop", or "skip" it and list it as left out.
        batch_size: Images per batch; by default 64 for classifiers, and 1 for detectors and segmenters.
        workers: Processes that read images; by default none for one batch, else one less than there are cores.
        accelerator: Device: "auto", "cpu", "gpu", "cuda" or "cuda:N".
        precision: Number format: float32, bf16 or fp16, or in Lightning's words.
        backend: Library that a classifier runs in: "torch", or "mindspore", an extra, on the CPU.
        trust: Allow machine code in the file to run, of which files of AOTInductor consist.
        progress: A "bar", "lines" (one every ten seconds) or "none"; "auto" is a bar in a terminal, otherwise lines.

    Returns:
        The predictions, in order, or where they were written.

    Raises:
        UserError: A path doesn't exist, a folder holds no image, an image can't be read, an option is for another task,
            or the output can't be written or resumed.
    """
    check_choices(predict, locals())
    check_backend(backend, accelerator, precision)
    inputs = _check_inputs(checkpoint, images, top_k, threshold, batch_size, workers, img_size)
    output, contact_sheet = (None if one is None else Path(one) for one in (output, contact_sheet))
    folder = output is not None and is_folder(output, format)
    if output is None and (resume or format is not None):
        raise UserError(f"{'resume' if resume else 'format'}: there is no output; give --output FILE")
    if output is not None and not folder:
        format = choose_format(output, format)
        check_output(output, format, resume=resume)
    elif output is not None and not resume:
        check_new_folder(output)
    if contact_sheet is not None:
        _check_sheet(contact_sheet, resume=resume)

    from msgformer.tasks.prediction.sink import PredictionSink, skip_completed
    from msgformer.tasks.prediction.stream import stream_predictions
    from msgformer.tasks.progress import track_progress

    options = {"top_k": top_k, "threshold": threshold, "img_size": img_size}
    predictor, path = _open(
        checkpoint, options, accelerator, precision, batch_size, workers, progress, trust=trust, backend=backend
    )
    sink = PredictionSink()
    if output is not None:
        sink = (
            PredictionSink.to_folder(predictor, output)
            if format is None
            else PredictionSink.to_file(predictor, output, format)
        )
    if contact_sheet is not None:
        from msgformer.visual.contact_sheet import ContactSheet

        sink.sheet = ContactSheet(contact_sheet)
    items = skip_completed(sink, inputs.items, predictor) if resume else inputs.items
    batches = stream_predictions(predictor, items, on_bad_image, sink.keep(predictor))
    sheets = sink.drain(track_progress(batches, len, progress, "predicting", inputs.total))
    if sink.skipped:
        print(f"left out {len(sink.skipped)} of {sink.count} image(s), which can't be read", file=sys.stderr)
    return PredictResult(predictor.task, path, sink.count, sink.records, sink.skipped, output, sheets)


def iter_predictions(
    checkpoint: ModelLike,
    images: ImagesLike,
    top_k: int | None = None,
    *,
    threshold: float | None = None,
    on_bad_image: OnBadImage = "stop",
    batch_size: int | None = None,
    workers: int | None = None,
    accelerator: str = "auto",
    precision: Precision = "32-true",
    backend: Library = "torch",
    trust: bool = False,
) -> Iterator[PredictionRecord]:
    """Predict images one by one, however many there are: `predict` for Python without a list.

    The arguments and errors are those of `predict`; an image that is skipped comes with its ``error``.
    """
    check_choices(iter_predictions, locals())
    check_backend(backend, accelerator, precision)
    inputs = _check_inputs(checkpoint, images, top_k, threshold, batch_size, workers)

    from msgformer.tasks.prediction.stream import stream_predictions

    options = {"top_k": top_k, "threshold": threshold}
    predictor, _ = _open(
        checkpoint, options, accelerator, precision, batch_size, workers, "none", trust=trust, backend=backend
    )
    batches = stream_predictions(predictor, inputs.items, on_bad_image)
    return (one.to_record() for batch in batches for one in batch)


def _open(
    checkpoint: ModelLike,
    options: dict[str, Any],
    device: str,
    precision: str,
    batch_size: int | None,
    workers: int | None,
    progress: Progress,
    *,
    trust: bool,
    backend: Library,
) -> tuple[Any, Path]:
    """Load a model and return its predictor and its path."""
    from dataclasses import replace

    from msgformer.tasks.loaded_model import load_any

    model = load_any(checkpoint, device=device, precision=precision, trust=trust)
    opened, task = model.opened, model.opened.task
    opened.require_trained("predict")
    named = {**options, "backend": None if backend == "torch" else backend}
    given = {key: value for key, value in task.check_options("predict", named).items() if key != "backend"}
    config = replace(model.config, batch_size=batch_size, workers=workers, progress=progress, backend=backend)
    return task.predictor(opened, config, **given), opened.path or Path(opened.card.model)


def _check_inputs(
    checkpoint: ModelLike,
    images: ImagesLike,
    top_k: int | None,
    threshold: float | None,
    batch_size: int | None,
    workers: int | None,
    img_size: int | tuple[int, int] | None = None,
) -> ImageInputs:
    """Check what can be checked without torch, and open the images."""
    numbers = {"top_k": top_k, "threshold": threshold, "img_size": img_size}
    check_ranges({**numbers, "batch_size": batch_size, "workers": workers})
    if isinstance(checkpoint, str | Path):
        find_trained_model(checkpoint)
    return open_inputs(images)


def _check_sheet(sheet: Path, *, resume: bool) -> None:
    if resume:
        raise UserError("contact_sheet: it can't be resumed; leave out --resume or --contact_sheet")
    if sheet.suffix.lower() != ".png":
        raise UserError(f"contact_sheet: {sheet} has to end with .png")
    if sheet.exists() or not sheet.parent.is_dir():
        problem = "exists; give another file" if sheet.exists() else f"has no folder {sheet.parent}; make it first"
        raise UserError(f"contact_sheet: {sheet} {problem}")

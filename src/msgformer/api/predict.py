"""``msgformer predict``: what images show."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgformer.api.dense_results import DensePredictResult
from msgformer.api.mindspore import Library, check_backend
from msgformer.api.prediction_files import STDOUT, check_output, choose_format
from msgformer.api.predictions import Format, Prediction
from msgformer.api.ranges import check_ranges
from msgformer.api.result import Result, text_table
from msgformer.api.runs import find_model
from msgformer.data.inputs import check_inputs, find_inputs
from msgformer.data.options import OnBadImage
from msgformer.errors import UserError
from msgformer.training.options import Precision, Progress


@dataclass(frozen=True)
class PredictResult(Result):
    """What images show.

    Attributes:
        checkpoint: The weights that were asked.
        images: How many images were asked about, in a call that was resumed those before it included.
        predictions: One an image, in the order in which the images were given; those of a folder by name. Empty if
            they were written to a file.
        skipped: Images that were left out, because they can't be read.
        output: The file that predictions were written to.
        contact_sheets: Pictures of the images with what they show.
    """

    checkpoint: Path
    images: int
    predictions: list[Prediction]
    skipped: list[str]
    output: Path | None = None
    contact_sheets: list[Path] | None = None

    def table(self) -> str:
        """One row an image: its path, then classes with their probabilities in per cent; or where it was written."""
        sheets = [f"contact sheet {path}" for path in self.contact_sheets or []]
        if self.output == STDOUT:
            return "\n".join(sheets)
        if self.output is not None:
            return "\n".join([f"{self.images:,} images in {self.output}", *sheets])
        rows = [
            (one.image, *(f"{name} {100 * p:.1f} %" for name, p in zip(one.classes, one.probabilities, strict=True)))
            for one in self.predictions
        ]
        width = len(rows[0]) if rows else 2
        rows += [(image, "left out: can't be read", *[""] * (width - 2)) for image in self.skipped]
        return "\n".join([text_table([""] * width, rows), *sheets])


def predict(
    checkpoint: Path,
    images: list[Path],
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
    progress: Progress = "auto",
) -> PredictResult | DensePredictResult:
    """Name what images show, or where.

    Any number of images is read and answered in order, a few batches in memory. With an output every batch is written
    at once, so that a call which was stopped leaves whole predictions, and goes on after them with --resume. A detector
    finds objects, a segmenter a class for each pixel; both draw them on the pictures in the output, a folder.

    Args:
        checkpoint: Run folder, of which the best epoch is taken, a checkpoint in one, or a file of 'msgformer export'.
        images: Image files, folders whose images are taken with those of all sub-folders, tar files with images,
            patterns such as 'photos/**/*.jpg', and "-" for a list of files, folders and tar files on standard input.
        top_k: How many classes a classifier names for each image, 5 by default; all of them if there are fewer.
        threshold: Score from which on a detector's objects are told and drawn, 0.5 by default.
        output: File to write predictions to instead of returning them; "-" is standard output. For detectors and
            segmenters, new folder for pictures and predictions.json.
        format: JSON lines ("jsonl"), "csv" or "parquet"; by default as the output's name ends.
        resume: Go on after the predictions that the output holds already; they are checked to be of the same images.
        contact_sheet: PNG file to draw the images to, with what they show; of many, further files are numbered.
        img_size: For classifiers, side of the square, or height and width, that images are brought to; by default as in
            training.
        on_bad_image: At an image that can't be read, "stop", or "skip" it and list it as left out.
        batch_size: Images a batch, for classifiers; 64 by default.
        workers: Processes that read images; by default none for one batch, else one less than there are cores.
        accelerator: "auto", "cpu", "gpu" or another that Lightning knows.
        precision: Number format, in Lightning's words.
        backend: Library that a classifier runs in: "torch", or "mindspore", an extra, on the CPU.
        progress: A "bar", "lines" (one every ten seconds) or "none"; "auto" is a bar in a terminal, otherwise lines.

    Returns:
        Class names and probabilities of every image, in order, or where they were written.

    Raises:
        UserError: a path isn't there, a folder holds no image, an image can't be read, or the output can't be written
            or gone on with.
    """
    check_backend(backend, accelerator, precision)
    path, given = _checked(checkpoint, images, top_k, batch_size, workers, img_size)
    output, contact_sheet = (None if one is None else Path(one) for one in (output, contact_sheet))

    from msgformer.api.exported import task_of

    task = task_of(path)
    if task != "classify":
        rest: dict[str, Any] = dict(top_k=top_k, format=format, contact_sheet=contact_sheet, batch_size=batch_size)
        rest |= dict(
            workers=workers, resume=resume or None, on_bad_image=on_bad_image if on_bad_image != "stop" else None
        )
        rest["img_size"] = img_size
        rest["backend"] = None if backend == "torch" else backend
        _check_dense(task, rest, output, threshold)
        from msgformer.api.dense_predicting import predict_dense

        score = 0.5 if threshold is None else threshold
        return predict_dense(path, find_inputs(given), output, score, accelerator, precision, progress)
    if threshold is not None:
        raise UserError("threshold is for detectors, not for classifiers; leave it out")
    top_k = top_k or 5
    if output is not None:
        format = choose_format(output, format)
        check_output(output, format, resume=resume)
    elif resume or format is not None:
        raise UserError(f"{'resume' if resume else 'format'}: there is no output; give --output FILE")
    if contact_sheet is not None:
        _check_sheet(contact_sheet, resume=resume)

    from msgformer.api.answering import Answerer
    from msgformer.api.following import followed
    from msgformer.api.predicting import answer
    from msgformer.api.prediction_run import Sink, take_up

    answerer = Answerer(path, accelerator, precision, backend=backend, img_size=img_size)
    sink = Sink.of(answerer, top_k, output, format, contact_sheet)
    inputs = find_inputs(given)
    if resume and sink.file is not None:
        inputs = take_up(sink, inputs, answerer, top_k)
    batches = answer(answerer, inputs, top_k, on_bad_image, batch_size or 64, workers, sink.thumbnail)
    sheets = sink.drain(followed(batches, len, progress, "predicting"))
    if sink.skipped:
        print(f"left out {len(sink.skipped)} of {sink.images} image(s), which can't be read", file=sys.stderr)
    return PredictResult(path, sink.images, sink.predictions, sink.skipped, output, sheets)


def iter_predictions(
    checkpoint: str | Path,
    images: Iterable[str | Path],
    top_k: int = 5,
    *,
    on_bad_image: OnBadImage = "stop",
    batch_size: int = 64,
    workers: int | None = None,
    accelerator: str = "auto",
    precision: Precision = "32-true",
    backend: Library = "torch",
) -> Iterator[Prediction]:
    """What images show, one by one, however many there are: :func:`predict` for Python without a list.

    The arguments and errors are those of :func:`predict`; an image that is skipped comes with its ``error``.
    """
    check_backend(backend, accelerator, precision)
    path, given = _checked(checkpoint, images, top_k, batch_size, workers)

    from msgformer.api.answering import Answerer
    from msgformer.api.predicting import answer

    answerer = Answerer(path, accelerator, precision, backend=backend)
    batches = answer(answerer, find_inputs(given), top_k, on_bad_image, batch_size, workers)
    return (one.prediction for batch in batches for one in batch)


def _checked(
    checkpoint: str | Path,
    images: Iterable[str | Path],
    top_k: int | None,
    batch_size: int | None,
    workers: int | None,
    img_size: int | tuple[int, int] | None = None,
) -> tuple[Path, list[str]]:
    """The checkpoint's file and the places of images, as far as they can be checked without torch."""
    check_ranges({"top_k": top_k, "batch_size": batch_size, "workers": workers, "img_size": img_size})
    path = find_model(Path(checkpoint))
    given = [str(place) for place in images]
    check_inputs(given)
    return path, given


def _check_dense(task: str, settings: dict[str, Any], output: Path | None, threshold: float | None) -> None:
    """Refuse what detectors and segmenters have no use for; raises UserError."""
    for key, value in settings.items():
        if value is not None:
            raise UserError(f"{key} is for classifiers, but the checkpoint is of task {task}; leave it out")
    if task == "segment" and threshold is not None:
        raise UserError("threshold is for detectors, not for segmenters; leave it out")
    if threshold is not None and not 0 <= threshold <= 1:
        raise UserError(f"threshold must lie between 0 and 1, not {threshold:g}")
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"output: {output} {'is not empty' if output.is_dir() else 'is a file'}; give a new folder")


def _check_sheet(sheet: Path, *, resume: bool) -> None:
    if resume:
        raise UserError("contact_sheet: it can't be gone on with; leave out --resume or --contact_sheet")
    if sheet.suffix.lower() != ".png":
        raise UserError(f"contact_sheet: {sheet} has to end with .png")
    if sheet.exists() or not sheet.parent.is_dir():
        problem = "exists; give another file" if sheet.exists() else f"has no folder {sheet.parent}; make it first"
        raise UserError(f"contact_sheet: {sheet} {problem}")

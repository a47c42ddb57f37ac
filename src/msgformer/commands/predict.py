"""``msgformer predict``: predict classes, objects or class maps of images."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgformer.checkpoints.model_location import find_trained_model
from msgformer.config.constraints import check_choices, check_ranges
from msgformer.config.data_options import OnBadImage
from msgformer.config.renamed_arguments import renamed_arguments
from msgformer.config.training_options import Precision, Progress
from msgformer.data.detection.image_list import is_image_list, read_image_list
from msgformer.data.files.image_inputs import ImageInputs, open_inputs
from msgformer.errors import UserError
from msgformer.mindspore_backend import Library, check_backend
from msgformer.model_types import ImagesLike, ModelLike
from msgformer.tasks.prediction.base import PredictionRecord
from msgformer.tasks.prediction.file import (
    PREDICTIONS,
    STDOUT,
    check_output,
    choose_format,
    is_folder,
    journal_path,
)
from msgformer.tasks.prediction.record_layout import Format
from msgformer.utils.output_path import check_output_file, check_output_folder, stage_if_used
from msgformer.utils.result import Result, text_table


@dataclass(frozen=True)
class PredictResult(Result):
    """Result of `msgformer.predict`.

    Attributes:
        task: "classify", "detect" or "segment".
        checkpoint: Path of the model.
        images: Number of images, including those of the calls that this one resumed.
        predictions: One record per image, in the order of the input; images of a folder are sorted by name. Empty if
            they were written to a file.
        skipped: Images that were skipped because they can't be read.
        output: File of the predictions, or folder of the drawn images and ``predictions.json``.
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
        """Return one row per image with its name and its prediction, or the path of the output."""
        lines = [f"contact sheet {path}" for path in self.contact_sheets or []]
        if self.output is not None and self.output != STDOUT:
            lines.insert(0, f"{self.images:,} images in {self.output}")
        if self.output == STDOUT or (self.output is not None and not self.predictions):
            return "\n".join(lines)
        rows: list[tuple[str, ...]] = [(one.image, *one.cells()) for one in self.predictions]
        rows += [(image, "left out: can't be read") for image in self.skipped]
        width = max(map(len, rows), default=2)
        return "\n".join([text_table([""] * width, [(*row, *[""] * (width - len(row))) for row in rows]), *lines])


@renamed_arguments(checkpoint="model", accelerator="device", resume="skip_completed")
def predict(
    model: ModelLike,
    images: ImagesLike,
    top_k: int | None = None,
    *,
    threshold: float | None = None,
    max_dets: int | None = None,
    tile: int | None = None,
    tile_overlap: float | None = None,
    output: Path | None = None,
    results: Path | None = None,
    overwrite: bool = False,
    format: Format | None = None,
    skip_completed: bool = False,
    contact_sheet: Path | None = None,
    img_size: int | tuple[int, int] | None = None,
    on_bad_image: OnBadImage = "stop",
    batch_size: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    backend: Library = "torch",
    trust: bool = False,
    progress: Progress = "auto",
) -> PredictResult:
    """Predict the classes of images, or their objects, or the class of each pixel.

    Images are streamed in order, so that any number of them fits in memory. With --output, each batch is written
    immediately: an interrupted call leaves complete predictions, and --skip_completed continues after them.

    Args:
        model: Run folder (its best epoch), a checkpoint in one, or a file of 'msgformer export'.
        images: Image files, http(s) URLs, folders (including their subfolders), tar files, videos, glob patterns such
            as 'photos/**/*.jpg', "-" to read a list of files, folders and tar files from standard input, or a JSON file
            in COCO's format, whose images are predicted (it needs no annotations).
        top_k: For classifiers, number of classes per image; 5 by default, all if there are fewer.
        threshold: For detectors, minimum score of the objects that are reported and drawn; by default 0.5, and 0
            with --results.
        max_dets: For detectors, maximum number of objects per image; by default --detect.detections_per_image of
            training.
        tile: For detectors, predict larger images on tiles of this side in pixels, such as 1024, and merge their
            objects, which is approximate; by default --detect_images.tile of training.
        tile_overlap: Overlap of neighboring tiles, as a fraction of a tile; 0.2 by default.
        results: For detectors, JSON file to write all detections to in COCO's results format, with the image ids of the
            JSON file that is given as images, or else those in the names of the images.
        output: File to write the predictions to instead of returning them, "-" for standard output, or a folder for
            predictions.json and the images with the predictions drawn on them.
        overwrite: Replace an existing output or contact sheet, once the new one is complete.
        format: "jsonl" (JSON lines), "csv" or "parquet"; by default chosen by the suffix of the output.
        skip_completed: Skip the images whose predictions are already in the output; it must be of the same images.
        contact_sheet: PNG file for an overview of the images and their predictions; further files are numbered.
        img_size: For classifiers, the image size: the side of a square, or height and width; by default as in training.
        on_bad_image: "stop" at an image that can't be read, or "skip" and report it.
        batch_size: Images per batch; by default 64 for classifiers, and 1 for detectors and segmenters.
        workers: Processes that load images; by default none for a single batch, otherwise the number of cores minus
            one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: Number format: float32, bf16 or fp16.
        backend: Library that runs a classifier: "torch", or "mindspore" (an extra) on the CPU.
        trust: Allow an exported file to run machine code, as AOTInductor files do.
        progress: "bar", "lines" (every ten seconds) or "none"; "auto" shows a bar in a terminal and lines elsewhere.

    Returns:
        The predictions in order, or the files that they were written to.

    Raises:
        UserError: A path does not exist, a folder has no images, an image can't be read, an option is for another task,
            or the output can't be written or continued.
    """
    check_choices(predict, locals())
    check_backend(backend, device, precision)
    listed = read_image_list(Path(images)) if is_image_list(images) else None  # type: ignore[arg-type]
    images = images if listed is None else listed.paths
    options = {"top_k": top_k, "threshold": threshold, "max_dets": max_dets, "img_size": img_size}
    options |= {"tile": tile, "tile_overlap": tile_overlap}
    inputs = _check_inputs(model, images, options, batch_size, workers)
    output, contact_sheet = (None if one is None else Path(one) for one in (output, contact_sheet))
    results = None if results is None else Path(results)
    if results is not None:
        _check_results(results, skip_completed=skip_completed, overwrite=overwrite)
    format = _check_output(output, format, skip_completed=skip_completed, overwrite=overwrite)
    if contact_sheet is not None:
        _check_sheet(contact_sheet, skip_completed=skip_completed, overwrite=overwrite)

    from msgformer.tasks.prediction.sink import PredictionSink, remaining_inputs
    from msgformer.tasks.prediction.stream import stream_predictions
    from msgformer.tasks.progress import track_progress

    predictor, path = _open(
        model, options, device, precision, batch_size, workers, progress, trust=trust, backend=backend
    )
    inputs = inputs.scaled(predictor.value_range)
    file = None if results is None else predictor.results_file(results, listed)
    with _staged(output, overwrite=overwrite) as place, _staged(contact_sheet, overwrite=overwrite) as sheet:
        sink = PredictionSink()
        if place is not None:
            sink = (
                PredictionSink.to_folder(predictor, place)
                if format is None
                else PredictionSink.to_file(predictor, place, format)
            )
        sink.replaces = None if place == output else output
        if sheet is not None:
            from msgformer.visual.contact_sheet import ContactSheet

            sink.sheet = ContactSheet(sheet)
        items = remaining_inputs(sink, inputs.items, predictor) if skip_completed else inputs.items
        batches = stream_predictions(predictor, items, on_bad_image, sink.keep(predictor))
        batches = batches if file is None else file.collect(batches)
        pages = sink.drain(track_progress(batches, len, progress, "predicting", inputs.total))
    if file is not None:
        file.write()
    if sink.replaces is not None and format is not None and (journal := journal_path(sink.replaces, format)) != output:
        journal.unlink(missing_ok=True)  # of an interrupted call
    sheets = [] if contact_sheet is None else [contact_sheet.with_name(page.name) for page in pages]
    if sink.skipped:
        print(f"left out {len(sink.skipped)} of {sink.count} image(s), which can't be read", file=sys.stderr)
    return PredictResult(predictor.task, path, sink.count, sink.records, sink.skipped, output, sheets)


@renamed_arguments(checkpoint="model", accelerator="device")
def iter_predictions(
    model: ModelLike,
    images: ImagesLike,
    top_k: int | None = None,
    *,
    threshold: float | None = None,
    max_dets: int | None = None,
    tile: int | None = None,
    tile_overlap: float | None = None,
    on_bad_image: OnBadImage = "stop",
    batch_size: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    backend: Library = "torch",
    trust: bool = False,
) -> Iterator[PredictionRecord]:
    """Predict images as an iterator of records, without holding all of them in memory.

    Args:
        model: As for `msgformer.predict`.
        images: As for `msgformer.predict`.
        top_k: For classifiers, number of classes per image; 5 by default.
        threshold: For detectors, minimum score of the objects; 0.5 by default.
        max_dets: For detectors, maximum number of objects per image; by default that of training.
        tile: For detectors, predict large images on tiles of this side in pixels, and merge their objects.
        tile_overlap: Overlap of neighboring tiles, as a fraction of a tile; 0.2 by default.
        on_bad_image: "stop" at an image that can't be read, or "skip" it with a record that holds the ``error``.
        batch_size: Images per batch.
        workers: Processes that load images.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: Number format: float32, bf16 or fp16.
        backend: Library that runs a classifier: "torch" or "mindspore".
        trust: Allow an exported file to run machine code.

    Returns:
        An iterator over one record per image, in order.

    Raises:
        UserError: As for `msgformer.predict`; problems of single images are raised during iteration.
    """
    check_choices(iter_predictions, locals())
    check_backend(backend, device, precision)
    options = {"top_k": top_k, "threshold": threshold, "max_dets": max_dets}
    options |= {"tile": tile, "tile_overlap": tile_overlap}
    inputs = _check_inputs(model, images, options, batch_size, workers)

    from msgformer.tasks.prediction.stream import stream_predictions

    predictor, _ = _open(model, options, device, precision, batch_size, workers, "none", trust=trust, backend=backend)
    batches = stream_predictions(predictor, inputs.scaled(predictor.value_range).items, on_bad_image)
    return (one.to_record() for batch in batches for one in batch)


def _open(
    model: ModelLike,
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

    loaded = load_any(model, device=device, precision=precision, trust=trust)
    opened, task = loaded.opened, loaded.opened.task
    opened.require_trained("predict")
    named = {**options, "backend": None if backend == "torch" else backend}
    given = {key: value for key, value in task.check_options("predict", named).items() if key != "backend"}
    config = replace(loaded.config, batch_size=batch_size, workers=workers, progress=progress, backend=backend)
    return task.predictor(opened, config, **given), opened.path or Path(opened.card.model)


def _check_inputs(
    model: ModelLike,
    images: ImagesLike,
    options: Mapping[str, Any],
    batch_size: int | None,
    workers: int | None,
) -> ImageInputs:
    """Check what can be checked without torch, and open the images."""
    check_ranges({**options, "batch_size": batch_size, "workers": workers})
    if isinstance(model, str | Path):
        find_trained_model(model)
    return open_inputs(images)


def _check_output(
    output: Path | None, format: Format | None, *, skip_completed: bool, overwrite: bool
) -> Format | None:
    """Check the output and its options, and return the format of a file; None for a folder or no output."""
    if skip_completed and overwrite:
        raise UserError(
            "overwrite: --skip_completed continues the output instead of replacing it; leave one of them out"
        )
    if output is None and (skip_completed or format is not None):
        raise UserError(f"{'skip_completed' if skip_completed else 'format'}: there is no output; pass --output FILE")
    if output is not None and not is_folder(output, format):
        format = choose_format(output, format)
        check_output(output, format, skip_completed=skip_completed, overwrite=overwrite)
    elif output is not None and not skip_completed:
        journal = journal_path(Path(PREDICTIONS), None)
        check_output_folder(output, PREDICTIONS, journal.name, overwrite=overwrite)
    return format


def _check_results(results: Path, *, skip_completed: bool, overwrite: bool) -> None:
    if skip_completed:
        raise UserError("results: it holds the detections of one call; leave out --skip_completed or --results")
    check_output_file(results, overwrite=overwrite, key="results")


def _staged(output: Path | None, *, overwrite: bool) -> AbstractContextManager[Path | None]:
    """Return a context with the path to write to, which is a temporary one if an existing output is replaced."""
    return stage_if_used(output) if overwrite and output is not None and output != STDOUT else nullcontext(output)


def _check_sheet(sheet: Path, *, skip_completed: bool, overwrite: bool) -> None:
    if skip_completed:
        raise UserError("contact_sheet: it shows the images of one call; leave out --skip_completed or --contact_sheet")
    if sheet.suffix.lower() != ".png":
        raise UserError(f"contact_sheet: {sheet} has to end with .png")
    pages = [page for page in sheet.parent.glob("*.png") if re.fullmatch(rf"{re.escape(sheet.stem)}-\d+", page.stem)]
    check_output_file(sheet, *sorted(pages), overwrite=overwrite, key="contact_sheet")

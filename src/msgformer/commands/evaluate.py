"""``msgformer evaluate``: score trained models."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

from msgformer.checkpoints.model_location import find_trained_model
from msgformer.config.constraints import check_choices, check_ranges
from msgformer.config.data_options import EvaluationSplit, Filter, OnBadImage
from msgformer.config.renamed_arguments import renamed_arguments
from msgformer.config.training_options import Precision, Progress
from msgformer.data.files.locations import DataLike, resolve_data
from msgformer.errors import UserError
from msgformer.mindspore_backend import Library, check_backend
from msgformer.model_types import ModelLike
from msgformer.tasks.classification.scores import EvaluateResult
from msgformer.tasks.dense.scores import DenseEvaluateResult
from msgformer.tasks.evaluation import COMPARISON, METRICS, EvaluationOptions, ScoresResult
from msgformer.utils.output_path import check_output_folder, stage_if_used
from msgformer.utils.result import Result, text_table


@dataclass(frozen=True)
class Comparison(Result):
    """Scores of several models.

    Attributes:
        results: One per model, in the order in which they were given.
    """

    results: list[Any]

    def table(self) -> str:
        """Return one row per model."""
        cells = [one.comparison_cells() for one in self.results]
        titles = list(dict.fromkeys(title for row in cells for title in row))
        return text_table(titles, [[row.get(title, "-") for title in titles] for row in cells])

    def write(self, folder: Path) -> None:
        """Write ``comparison.csv``, one row per model."""
        from msgformer.utils.csv_file import write_csv

        rows = [one.comparison() for one in self.results]
        columns = list(dict.fromkeys(column for row in rows for column in row))
        write_csv(folder / COMPARISON, columns, [[row.get(column, "") for column in columns] for row in rows])


@overload
def evaluate(model: ModelLike, *args: Any, **kwargs: Any) -> EvaluateResult: ...
@overload
def evaluate(model: Sequence[ModelLike], *args: Any, **kwargs: Any) -> EvaluateResult | Comparison: ...


# Narrower than the overloads: the command line reads this signature.
@renamed_arguments(checkpoint="model", accelerator="device")  # type: ignore[misc]
def evaluate(
    model: ModelLike | list[ModelLike],
    data: DataLike | None = None,
    *,
    split: EvaluationSplit | None = None,
    output: Path | None = None,
    overwrite: bool = False,
    img_size: int | tuple[int, int] | None = None,
    crop_pct: float | None = None,
    crop_mode: Literal["center", "squash", "border"] | None = None,
    interpolation: Filter | None = None,
    flip: bool = False,
    scales: list[float] | None = None,
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
    progress: Progress = "auto",
) -> EvaluateResult | DenseEvaluateResult | Comparison:
    """Score trained models on the images that their runs held out, or on other data.

    Classifiers are scored by accuracy and calibration, detectors by COCO average precision, segmenters by mean IoU.

    Args:
        model: Run folder (its best epoch), a checkpoint in one, or a file of 'msgformer export'; several are
            compared.
        data: Folder with val/ or with class folders, or SCHEME:LOCATION as in training; for detection and segmentation,
            a folder as in training. By default the images that the run held out.
        split: Subset to score on, of the data or as a run has recorded it (split.csv): train, val, or test, which
            includes images that were kept for a test. "all" scores all images of data without subsets. By default val.
        output: Folder for metrics.json, per_class.csv and predictions.csv. Several models get one subfolder
            each, and comparison.csv. A detector writes COCO result files, bbox_results.json and segm_results.json,
            instead of predictions.csv.
        overwrite: Replace an existing folder, once the new one is complete.
        img_size: For classifiers, the image size: the side of a square, or height and width; by default as in training,
            as are the next three options.
        crop_pct: Side of the center crop divided by the side that images are resized to.
        crop_mode: How images of another aspect ratio are fitted: "center" crops, "squash" distorts, "border" pads.
        interpolation: Filter for resizing.
        flip: Average the probabilities of each image and its mirror image; not for detectors.
        scales: For segmenters, average the probabilities over these relative image sizes, such as
            [0.5, 0.75, 1, 1.25, 1.5, 1.75].
        max_dets: For detectors, also score with this limit of detections per image, such as 300, beside COCO's 100; the
            detector's own limit is raised if necessary.
        tile: For detectors, predict larger images on tiles of this side in pixels, such as 1024, and merge their
            objects, which is approximate; by default --detect_images.tile of training.
        tile_overlap: Overlap of neighboring tiles, as a fraction of a tile; 0.2 by default.
        on_bad_image: "stop" at an image that can't be read, or "skip" and report it.
        batch_size: Images per batch; by default 128 for classifiers, and 1 for detectors and segmenters.
        workers: Processes that load images; by default the number of cores minus one, at most 8.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: Number format: float32, bf16 or fp16.
        backend: Library that runs a classifier: "torch", or "mindspore" (an extra) on the CPU.
        trust: Allow an exported file to run machine code, as AOTInductor files do.
        progress: "bar", "lines" or "none"; "auto" shows a bar in a terminal.

    Returns:
        The scores; for several models, a comparison with the scores of each.

    Raises:
        UserError: A path does not exist or has the wrong content, a number is out of range, or the data has other
            classes than the model.
    """
    check_choices(evaluate, locals())
    numbers = {"img_size": img_size, "scales": scales, "max_dets": max_dets, "tile": tile}
    check_ranges({**numbers, "tile_overlap": tile_overlap, "batch_size": batch_size, "workers": workers})
    check_backend(backend, device, precision)
    models = list(model) if isinstance(model, list | tuple) else [model]
    if not models:
        raise UserError("model: none is given; pass a run folder")
    for one in models:
        if isinstance(one, str | Path):
            find_trained_model(one)
    resolved = None if data is None else resolve_data(data, layout=False)
    output = None if output is None else Path(output)
    check_output_folder(output, METRICS, COMPARISON, overwrite=overwrite)
    if crop_pct is not None and not 0 < crop_pct <= 1:
        raise UserError(f"crop_pct must be above 0 and at most 1, not {crop_pct:g}")

    task_options: dict[str, Any] = dict(
        img_size=img_size, crop_pct=crop_pct, crop_mode=crop_mode, interpolation=interpolation
    )
    task_options |= dict(flip=flip or None, scales=scales, backend=None if backend == "torch" else backend)
    task_options |= dict(max_dets=max_dets, tile=tile, tile_overlap=tile_overlap)
    config = dict(batch_size=batch_size, workers=workers, progress=progress, backend=backend)

    from msgformer.tasks.loaded_model import load_any

    trained = [load_any(one, device=device, precision=precision, trust=trust) for one in models]
    if len({one.opened.card.task for one in trained}) > 1:
        raise UserError("model: only models of one task can be compared; give one task at a time")
    options = [replace(_options(one, task_options, on_bad_image), split=split) for one in trained]
    results: list[ScoresResult] = []
    with nullcontext() if output is None else stage_if_used(output) as place:
        for number, one in enumerate(models, 1):
            folder = place if len(models) == 1 or place is None else place / f"{number}-{_name(one)}"
            # Popped, so that the memory of one model is freed before the next one runs.
            results.append(_score(trained.pop(0), resolved, folder, config, options.pop(0)))
        if len(results) == 1:
            return results[0]  # type: ignore[return-value]
        comparison = Comparison(results)
        if place is not None:
            comparison.write(place)
    return comparison


def _options(model: Any, task_options: dict[str, Any], on_bad_image: OnBadImage) -> EvaluationOptions:
    """Check the options against a model's task, and return them in the form that its task takes."""
    model.opened.require_trained("evaluate")
    given = model.opened.task.check_options("evaluate", task_options)
    return EvaluationOptions(on_bad_image, {key: value for key, value in given.items() if key != "backend"})


def _score(
    model: Any,
    data: str | None,
    output: Path | None,
    config: dict[str, Any],
    options: EvaluationOptions,
) -> ScoresResult:
    """Score one model, and write its scores."""
    evaluation = model.opened.task.evaluate(model.opened, data, replace(model.config, **config), options)
    if output is not None:
        evaluation.write(output)
    result: ScoresResult = evaluation.result
    return result


def _name(model: ModelLike) -> str:
    """Return the name of a model's run folder, to name its output folder."""
    path = find_trained_model(model).path if isinstance(model, str | Path) else _path_of(model)
    return type(model).__name__.lower() if path is None else path.resolve().parent.name


def _path_of(model: ModelLike) -> Path | None:
    """Return the file that a model in memory was loaded from, if any."""
    return getattr(getattr(model, "opened", None), "path", None)

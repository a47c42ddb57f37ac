"""``msgformer explain``: visualize the attention, exchange routes and significance maps of a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgformer.checkpoints.model_location import ModelKind, find_model
from msgformer.config.constraints import check_choices, check_ranges
from msgformer.config.renamed_arguments import renamed_arguments
from msgformer.config.training_options import Progress
from msgformer.data.files.folder import require_path
from msgformer.data.files.image_inputs import open_inputs
from msgformer.errors import UserError
from msgformer.model_names import ALIASES, MODELS, nearest, resolve
from msgformer.model_types import ImagesLike, ModelLike
from msgformer.runs.output_folder import new_run
from msgformer.utils.output_path import check_output_folder, stage_if_used
from msgformer.utils.result import Result

MAX_IMAGES = 50
"""Maximum number of images on one page."""

PAGE, DATA = "explain.html", "explain.json"


@dataclass(frozen=True)
class ExplainResult(Result):
    """Result of `msgformer.explain`.

    Attributes:
        model: The model's name.
        weights: File of the weights; None for random initial weights and for a module in memory.
        images: Names of the images.
        page: Interactive HTML page, self-contained.
        data: JSON file that describes the saved arrays.
        pictures: All figures that were drawn.
        is_trained: Whether the weights are trained.
    """

    model: str
    weights: Path | None
    images: list[str]
    page: Path
    data: Path
    pictures: list[Path]
    is_trained: bool = True

    def table(self) -> str:
        """Return the files that were written."""
        text = (
            f"{self.page}; beside it {self.data.name} and {len(self.pictures)} figures of {len(self.images)} image(s)"
        )
        if not self.is_trained:
            text += f"\nthe weights of {self.model} are random initial weights; give a run, or --weights FILE"
        return text


@renamed_arguments(source="model", accelerator="device")
def explain(
    model: ModelLike,
    images: ImagesLike,
    *,
    output: Path | None = None,
    overwrite: bool = False,
    weights: Path | None = None,
    model_args: dict[str, Any] | None = None,
    img_size: int | tuple[int, int] | None = None,
    whole: bool = False,
    blocks: list[str] | None = None,
    each_head: bool = False,
    gradients: int = 4,
    seed: int | None = None,
    device: str = "auto",
    progress: Progress = "auto",
) -> ExplainResult:
    """Visualize the inner workings of a model on images: an interactive page, figures and arrays.

    For an MSG-Transformer: the attention of each MSG token to the patches of its window, the windows that the exchange
    takes its channels from, and its receptive field. For an SG-Former: the significance maps, and the token groups that
    are merged by significance. The page is explain.html; it needs no other file.

    Args:
        model: Run folder (its best epoch), checkpoint of a classifier, detector or segmenter, or a model name together
            with --weights or --seed.
        images: Image files, folders, tar files and glob patterns, as for 'msgformer predict'; at most 50 images.
        output: Output folder; by default the next free one, runs/explain-N.
        overwrite: Replace an existing folder, once the new one is complete.
        weights: Official or converted checkpoint for a model given by name.
        model_args: Further constructor arguments of a model given by name, such as --model_args.exchange mean.
        img_size: Image size: the side of a square, or height and width; with --whole the shorter side. By default as in
            evaluation.
        whole: For classifiers, use whole images in their own aspect ratio instead of the evaluation crop. Detectors and
            segmenters always use whole images.
        blocks: Blocks to show, each as STAGE.BLOCK, counted from 1, such as '["2.1", "3.4"]'; by default all.
        each_head: Also draw the attention of each head as a figure; the page always shows it.
        gradients: Maximum number of MSG tokens per block whose receptive field is also measured by gradients; each
            takes one backward pass.
        seed: Random seed of the initial weights of a model given by name, to look at an untrained model.
        device: "auto", "cpu", "cuda" or "cuda:N".
        progress: "bar", "lines" or "none"; "auto" shows a bar in a terminal and lines elsewhere.

    Returns:
        The files that were written.

    Raises:
        UserError: The model is of another model family, an image can't be read, a block does not exist, or the output
            can't be written.
    """
    output = None if output is None else Path(output)
    check_choices(explain, locals())
    check_ranges({"img_size": img_size, "gradients": gradients, "seed": seed})
    if whole and isinstance(img_size, tuple | list):
        raise UserError("img_size: whole images keep their shape; give one number, their shorter side")
    _check_blocks(blocks)
    name = _check_source(model, weights, model_args, seed)
    inputs = open_inputs(images)
    check_output_folder(output, DATA, overwrite=overwrite)

    from msgformer.explanations.builder import Subject, write_explanation
    from msgformer.tasks.explain_view import ExplainOptions

    if name is None:
        subject = Subject.of_model(model)
    else:
        subject = Subject.by_name(name, model_args or {}, None if weights is None else Path(weights), seed or 0)
    options = ExplainOptions(img_size, whole, blocks, each_head, gradients, device, progress)
    loaded = subject.read(inputs.scaled(subject.model.card.value_range).items, MAX_IMAGES)
    subject.check(options)
    with nullcontext() if output is None else stage_if_used(output) as place:
        folder = new_run(place, "explain")
        figures = [file.relative_to(folder) for file in write_explanation(subject, loaded, folder, options)]
    folder = folder if output is None else output
    names, files = [one.name for one, _ in loaded], [folder / name for name in figures]
    page, data = folder / PAGE, folder / DATA
    return ExplainResult(subject.name, subject.weights, names, page, data, files, subject.model.is_trained)


def _check_source(
    model: ModelLike, weights: Path | None, model_args: dict[str, Any] | None, seed: int | None
) -> str | None:
    """Return the name of the model to build, or None if ``model`` is a trained model.

    Raises:
        UserError: It is neither, or an option is not for it.
    """
    named = isinstance(model, str | Path) and find_model(model, "model").kind is ModelKind.NAME
    if not named:
        given = {"weights": weights, "model_args": model_args or None, "seed": seed}
        option = next((key for key, value in given.items() if value is not None), None)
        if option is not None:
            raise UserError(f"{option}: {model} has its own weights; leave it out")
        return None
    if str(model) not in MODELS and str(model) not in ALIASES:
        raise UserError(
            f"model: {str(model)!r} is neither a file nor a model of this package"
            f"{nearest(str(model), [*MODELS, *ALIASES])}; explain supports only MSG-Transformers and SG-Formers"
            " ('msgformer models' lists them)"
        )
    if weights is not None:
        require_path(Path(weights), "weights")
    elif seed is None:
        raise UserError(
            f"model: {model} is untrained: the name alone has no weights; give a run folder, --weights FILE, or"
            " --seed N to look at random initial weights"
        )
    return resolve(str(model))


def _check_blocks(blocks: Sequence[str] | None) -> None:
    for block in blocks or []:
        if not re.fullmatch(r"[1-9]\d*\.[1-9]\d*", str(block)):
            raise UserError(f"blocks: {block!r} must be STAGE.BLOCK, counted from 1, such as '2.1'")

"""``msgformer explain``: what a model does inside with images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgformer.checkpoints.model_location import ModelKind, find_model
from msgformer.config.constraints import check_choices, check_ranges
from msgformer.config.training_options import Progress
from msgformer.data.files.folder import require_path
from msgformer.data.files.image_inputs import open_inputs
from msgformer.errors import UserError
from msgformer.model_names import ALIASES, MODELS, nearest, resolve
from msgformer.model_types import ImagesLike, ModelLike
from msgformer.runs.output_folder import check_new_folder, new_run
from msgformer.utils.result import Result

MAX_IMAGES = 50
"""Images that one page holds at most."""


@dataclass(frozen=True)
class ExplainResult(Result):
    """Result of `msgformer.explain`.

    Attributes:
        model: The model's name.
        weights: File of the weights; None for random initial weights and for a module in memory.
        images: Names of the images.
        page: The page to explore, which needs nothing else.
        data: What the arrays beside the pictures are.
        pictures: All pictures.
        is_trained: Whether the weights are trained ones.
    """

    model: str
    weights: Path | None
    images: list[str]
    page: Path
    data: Path
    pictures: list[Path]
    is_trained: bool = True

    def table(self) -> str:
        """The same in words."""
        text = (
            f"{self.page}; beside it {self.data.name} and {len(self.pictures)} pictures of {len(self.images)} image(s)"
        )
        if not self.is_trained:
            text += f"\nthe weights of {self.model} are initial, random ones; give a run, or --weights FILE"
        return text


def explain(
    source: ModelLike,
    images: ImagesLike,
    *,
    output: Path | None = None,
    weights: Path | None = None,
    model_args: dict[str, Any] | None = None,
    img_size: int | tuple[int, int] | None = None,
    whole: bool = False,
    blocks: list[str] | None = None,
    each_head: bool = False,
    gradients: int = 4,
    seed: int | None = None,
    accelerator: str = "auto",
    progress: Progress = "auto",
) -> ExplainResult:
    """Show what a model does inside with images.

    Of an MSG-Transformer: how each messenger attends to the patches of its window, where its channels come from in the
    exchange, and how far its knowledge reaches. Of an SG-Former: the significance of tokens, and the groups in which
    they are merged. As pictures, as numbers, and as a page to explore, explain.html.

    Args:
        source: Run folder, of which the best epoch is taken; checkpoint of a classifier, detector or segmenter; or a
            model's name, with --weights or --seed.
        images: Image files, folders, tar files and patterns, as for 'predict'; 50 images at most.
        output: New folder to write to; by default runs/explain-N.
        weights: Checkpoint for a model given by its name: official or converted.
        model_args: Further arguments of the constructor of such a model, such as --model_args.exchange mean.
        img_size: Side of the square, or height and width, that images are brought to; for whole images the shorter
            side; by default as the model is evaluated.
        whole: Take a classifier's images whole, in their own shape; by default the part that evaluation cuts out.
            Detectors and segmenters always take them whole.
        blocks: Blocks to show, each as STAGE.BLOCK, both from 1 on, such as '["2.1", "3.4"]'; by default all.
        each_head: Draw the attention of each head as well; the page always has it.
        gradients: Messengers of each block, at most, whose receptive field is measured by gradients as well as by
            routing; each takes a backward pass.
        seed: Number that the initial weights of a model given by its name follow from, to look at an untrained model.
        accelerator: Device: "auto", "cpu", "gpu", "cuda" or "cuda:N".
        progress: A "bar", "lines" or "none"; "auto" is a bar in a terminal, otherwise lines.

    Returns:
        Where everything is.

    Raises:
        UserError: the source is of another model, an image can't be read, a block isn't there, or the output can't be
            written.
    """
    output = None if output is None else Path(output)
    check_choices(explain, locals())
    check_ranges({"img_size": img_size, "gradients": gradients, "seed": seed})
    if whole and isinstance(img_size, tuple | list):
        raise UserError("img_size: whole images keep their shape; give one number, their shorter side")
    _check_blocks(blocks)
    name = _check_source(source, weights, model_args, seed)
    inputs = open_inputs(images)
    check_new_folder(output)

    from msgformer.explanations.builder import Subject, write_explanation
    from msgformer.tasks.explain_view import ExplainOptions

    if name is None:
        subject = Subject.of_model(source)
    else:
        subject = Subject.by_name(name, model_args or {}, None if weights is None else Path(weights), seed or 0)
    options = ExplainOptions(img_size, whole, blocks, each_head, gradients, accelerator, progress)
    loaded = subject.read(inputs.items, MAX_IMAGES)
    subject.check(options)
    folder = new_run(output, "explain")
    pictures = write_explanation(subject, loaded, folder, options)
    names = [one.name for one, _ in loaded]
    page, data = folder / "explain.html", folder / "explain.json"
    return ExplainResult(subject.name, subject.weights, names, page, data, pictures, subject.model.is_trained)


def _check_source(
    source: ModelLike, weights: Path | None, model_args: dict[str, Any] | None, seed: int | None
) -> str | None:
    """Return the name of a model that is built here, or None if a trained one is given.

    Raises:
        UserError: It is neither, or an option doesn't go with it.
    """
    named = isinstance(source, str | Path) and find_model(source, "source").kind is ModelKind.NAME
    if not named:
        given = {"weights": weights, "model_args": model_args or None, "seed": seed}
        option = next((key for key, value in given.items() if value is not None), None)
        if option is not None:
            raise UserError(f"{option}: {source} has its own weights; leave it out")
        return None
    if str(source) not in MODELS and str(source) not in ALIASES:
        raise UserError(
            f"source: {str(source)!r} is neither a file nor a model of this package"
            f"{nearest(str(source), [*MODELS, *ALIASES])}; explain shows MSG-Transformers and SG-Formers alone"
            " ('msgformer models' lists them)"
        )
    if weights is not None:
        require_path(Path(weights), "weights")
    elif seed is None:
        raise UserError(
            f"source: {source} is untrained: the name alone has no weights; give a run folder, --weights FILE, or"
            " --seed N to look at initial weights"
        )
    return resolve(str(source))


def _check_blocks(blocks: Sequence[str] | None) -> None:
    for block in blocks or []:
        if not re.fullmatch(r"[1-9]\d*\.[1-9]\d*", str(block)):
            raise UserError(f"blocks: {block!r} must be STAGE.BLOCK, both from 1 on, such as '2.1'")

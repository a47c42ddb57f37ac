"""``msgformer explain``: what a model does inside with images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgformer.api.ranges import check_ranges
from msgformer.api.result import Result
from msgformer.api.runs import check_new_folder, find_checkpoint, new_run
from msgformer.catalog import ALIASES, MODELS, nearest, resolve
from msgformer.data.folder import existing
from msgformer.data.inputs import check_inputs
from msgformer.errors import UserError
from msgformer.training.options import Progress

FILE_SUFFIXES = (".ckpt", ".pt", ".pth", ".safetensors")
"""Endings that tell a file that isn't there from a model that isn't known."""

MOST_IMAGES = 50
"""Images that one page holds at most."""


@dataclass(frozen=True)
class ExplainResult(Result):
    """What was written.

    Attributes:
        model: The model's name.
        weights: The file of its weights; None for initial ones, which are random.
        images: Names of the images.
        page: The page to explore, which needs nothing else.
        data: What the arrays beside the pictures are.
        pictures: All pictures.
    """

    model: str
    weights: Path | None
    images: list[str]
    page: Path
    data: Path
    pictures: list[Path]

    def table(self) -> str:
        """The same in words."""
        text = (
            f"{self.page}; beside it {self.data.name} and {len(self.pictures)} pictures of {len(self.images)} image(s)"
        )
        if self.weights is None:
            text += f"\nthe weights of {self.model} are initial, random ones; give a run, or --weights FILE"
        return text


def explain(
    source: str,
    images: list[Path],
    *,
    output: Path | None = None,
    weights: Path | None = None,
    model_args: dict[str, Any] | None = None,
    img_size: int | tuple[int, int] | None = None,
    whole: bool = False,
    blocks: list[str] | None = None,
    each_head: bool = False,
    gradients: int = 4,
    seed: int = 0,
    accelerator: str = "auto",
    progress: Progress = "auto",
) -> ExplainResult:
    """Show what a model does inside with images.

    Of an MSG-Transformer: how each messenger attends to the patches of its window, where its channels come from in the
    exchange, and how far its knowledge reaches. Of an SG-Former: the significance of tokens, and the groups in which
    they are merged. As pictures, as numbers, and as a page to explore, explain.html.

    Args:
        source: Run folder, of which the best epoch is taken; checkpoint of a classifier, detector or segmenter; or a
            model's name, for its initial weights or those of --weights.
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
        seed: Number that initial weights follow from.
        accelerator: "auto", "cpu", "gpu" or another that Lightning knows.
        progress: A "bar", "lines" or "none"; "auto" is a bar in a terminal, otherwise lines.

    Returns:
        Where everything is.

    Raises:
        UserError: the source is of another model, an image can't be read, a block isn't there, or the output can't be
            written.
    """
    source, given = str(source), [str(place) for place in images]
    output = None if output is None else Path(output)
    check_ranges({"img_size": img_size, "gradients": gradients, "seed": seed})
    if whole and isinstance(img_size, tuple | list):
        raise UserError("img_size: whole images keep their shape; give one number, their shorter side")
    _check_blocks(blocks)
    checkpoint = find_source(source)
    if checkpoint is not None and (weights is not None or model_args):
        option = "model_args" if weights is None else "weights"
        raise UserError(f"{option}: {source} is a checkpoint, which has its own; leave it out")
    if weights is not None:
        existing(Path(weights), "weights")
    check_inputs(given)
    check_new_folder(output)

    from msgformer.api.explaining import Options, Subject, write_explanation

    if checkpoint is None:
        name = resolve(source)
        subject = Subject.by_name(name, model_args or {}, None if weights is None else Path(weights), seed)
    else:
        subject = Subject.of_checkpoint(checkpoint)
    options = Options(img_size, whole, blocks, each_head, gradients, accelerator, progress)
    inputs = subject.read(given, MOST_IMAGES)
    subject.check(options)
    folder = new_run(output, "explain")
    pictures = write_explanation(subject, inputs, folder, options)
    names = [one.name for one, _ in inputs]
    page, data = folder / "explain.html", folder / "explain.json"
    return ExplainResult(subject.name, subject.weights, names, page, data, pictures)


def find_source(source: str) -> Path | None:
    """The checkpoint that a source stands for, or None if it is a model's name.

    Raises:
        UserError: it is neither.
    """
    path = Path(source)
    if path.suffix == ".safetensors" and path.is_file():
        raise UserError(f"source: {source} holds weights alone; give the model's name and --weights {source}")
    if source in MODELS or source in ALIASES:
        return None
    if path.exists() or path.suffix in FILE_SUFFIXES or len(path.parts) > 1:
        return find_checkpoint(existing(path, "source"))
    raise UserError(
        f"source: {source!r} is neither a file nor a model of this package{nearest(source, [*MODELS, *ALIASES])};"
        " explain shows MSG-Transformers and SG-Formers alone ('msgformer models' lists them)"
    )


def _check_blocks(blocks: Sequence[str] | None) -> None:
    for block in blocks or []:
        if not re.fullmatch(r"[1-9]\d*\.[1-9]\d*", str(block)):
            raise UserError(f"blocks: {block!r} must be STAGE.BLOCK, both from 1 on, such as '2.1'")

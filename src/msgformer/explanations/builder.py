"""A model, images brought to its input, and what it does with them, written down."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from msgformer.checkpoints.card import ModelCard
from msgformer.config.data_options import PreprocessOptions
from msgformer.data.files.inputs import ImageInput
from msgformer.data.preprocessing import Preprocessing
from msgformer.errors import UserError
from msgformer.explanations.arrays import Block, block_arrays, block_name, block_record
from msgformer.explanations.figures import figures
from msgformer.explanations.messengers import trace_messengers
from msgformer.explanations.overlay import Explained
from msgformer.explanations.page import ExplainPage
from msgformer.explanations.significance import trace_significance
from msgformer.model_types import ModelLike
from msgformer.models import MsgTransformer, NoMessengers, SgFormer
from msgformer.models.loading import load_weights
from msgformer.models.sg_former import HybridAttention
from msgformer.tasks.device import find_device
from msgformer.tasks.explain_view import ExplainOptions, View
from msgformer.tasks.loaded_model import open_any
from msgformer.tasks.opened_model import OpenedModel
from msgformer.tasks.progress import track_progress
from msgformer.training.build import build_model, default_size

PAGE, DATA, ARRAYS = "explain.html", "explain.json", "arrays.safetensors"
LONGEST_NAME = 60
"""Characters of an image's name that its folder's has at most."""


def find_body(model: nn.Module, what: str) -> MsgTransformer | SgFormer:
    """The part of a model that can be explained.

    Raises:
        UserError: There is none; ``what`` begins the message.
    """
    for module in model.modules():
        if isinstance(module, MsgTransformer | SgFormer) and not isinstance(module, NoMessengers):
            return module
    raise UserError(
        f"source: {what}; explain shows the messengers of an MSG-Transformer and the significance maps of an"
        " SG-Former, and this model has neither"
    )


@dataclass(frozen=True)
class Subject:
    """What is to be explained.

    Attributes:
        name: Name of the model.
        model: The model.
        body: The part of its module that can be explained.
        weights: The file that the weights are from; None for initial ones and for a module in memory.
    """

    name: str
    model: OpenedModel
    body: MsgTransformer | SgFormer
    weights: Path | None

    @classmethod
    def of_model(cls, source: ModelLike) -> Subject:
        """Return the subject of a trained model.

        Raises:
            UserError: The model can't be read, is untrained, or is of another family.
        """
        opened = open_any(source)
        opened.require_trained("explain")
        model = OpenedModel(opened.card, copy.deepcopy(opened.module).cpu().eval(), path=opened.path)
        return cls(
            opened.card.model, model, find_body(model.module, f"{opened.name} is of {opened.card.model}"), opened.path
        )

    @classmethod
    def by_name(cls, name: str, model_args: dict[str, Any], weights: Path | None, seed: int) -> Subject:
        """Return a classifier of this package with a checkpoint's weights, or those that follow from ``seed``.

        Raises:
            UserError: An argument isn't known, the weights don't fit, or there is nothing in it to show.
        """
        size = default_size(name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module: Any = build_model(name, model_args.get("num_classes", 1000), size, model_args).eval()
        if weights is not None:
            load_weights(module, weights, may_differ=("head",))
        body = find_body(module, f"{name} is made with model_args {model_args}")
        images = Preprocessing.of(module, size, model_args.get("in_chans", 3), PreprocessOptions())
        classes = [str(index) for index in range(model_args.get("num_classes", 1000))]
        card = ModelCard(name, model_args, classes, images.to_dict())
        return cls(name, OpenedModel(card, module, is_trained=weights is not None), body, weights)

    def read(self, given: Iterable[ImageInput], most: int) -> list[tuple[ImageInput, Image.Image]]:
        """Load all images.

        Raises:
            UserError: One can't be read, or there are more than ``most``.
        """
        inputs = list(islice(given, most + 1))
        if len(inputs) > most:
            raise UserError(f"images: there are more than {most}, too many for one page; give fewer")
        return [(one, one.load()) for one in inputs]

    def check(self, options: ExplainOptions) -> None:
        """Make sure that the blocks asked for are there; raises UserError otherwise."""
        known = [
            f"{stage}.{number}"
            for stage, blocks in enumerate(self.body.stages, 1)
            for number, block in enumerate(blocks.blocks, 1)
            if isinstance(self.body, MsgTransformer) or isinstance(block.attn, HybridAttention)
        ]
        for block in options.blocks or []:
            if str(block) not in known:
                what = "block" if isinstance(self.body, MsgTransformer) else "block that measures significance"
                raise UserError(f"blocks: {self.name} has no {what} {block}; it has {', '.join(known)}")

    def trace(self, view: View, options: ExplainOptions, device: torch.device) -> list[Block]:
        """What the blocks asked for do with an image."""
        image = view.inputs.to(device)
        traced: Sequence[Block]
        if isinstance(self.body, MsgTransformer):
            traced = trace_messengers(self.body, image, options.gradients)
        else:
            traced = trace_significance(self.body, image)
        wanted = None if options.blocks is None else {str(block) for block in options.blocks}
        return [block for block in traced if wanted is None or block_name(block) in wanted]


def write_explanation(
    subject: Subject, inputs: Sequence[tuple[ImageInput, Image.Image]], folder: Path, options: ExplainOptions
) -> list[Path]:
    """Write the page, the numbers and the pictures; gives the pictures.

    Raises:
        UserError: The device isn't there.
    """
    device = find_device(options.device)
    subject.body.to(device)
    explained: list[Explained] = []
    records: list[dict[str, Any]] = []
    pictures: list[Path] = []
    progress = track_progress(inputs, lambda _: 1, options.progress, "explaining", len(inputs))
    for number, (one, picture) in enumerate(progress):
        view = subject.model.task.explain_view(subject.model, picture, options)
        image = Explained(one.name, view.image, subject.trace(view, options, device))
        explained.append(image)
        part = folder / f"{number + 1:04d}-{Path(one.name).stem[:LONGEST_NAME]}"
        pictures += _write_image(image, part, each_head=options.each_head)
        sizes = {"picture_size": image.size, "input_size": tuple(view.inputs.shape[-2:])}
        blocks = [block_record(block) for block in image.blocks]
        records.append({"image": one.name, "folder": part.name, **sizes, "blocks": blocks})
    weights = None if subject.weights is None else str(subject.weights)
    content = {"msgformer": version("msgformer"), "model": subject.name, "weights": weights, "images": records}
    (folder / DATA).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(_page(subject, explained).render(), encoding="utf-8")
    return pictures


def _write_image(image: Explained, folder: Path, *, each_head: bool) -> list[Path]:
    """Write an image's pictures and arrays; gives the pictures."""
    folder.mkdir()
    save_file({name: value for block in image.blocks for name, value in block_arrays(block).items()}, folder / ARRAYS)
    written = []
    for name, content in figures(image, each_head=each_head):
        written.append(folder / f"{name}.png")
        written[-1].write_bytes(content)
    return written


def _page(subject: Subject, explained: Sequence[Explained]) -> ExplainPage:
    messengers = isinstance(subject.body, MsgTransformer)
    what = "Messengers' attention, routes and receptive fields" if messengers else "Significance maps and token groups"
    count = "one image" if len(explained) == 1 else f"{len(explained)} images"
    origin = f"weights of {subject.weights or 'a module in memory'}" if subject.model.is_trained else "initial weights"
    initial = ["The weights are initial, random ones: nothing here was learned."]
    return ExplainPage(
        title=f"Inside {subject.name}",
        lead=f"{what} for {count}; {origin}.",
        images=explained,
        notes=[] if subject.model.is_trained else initial,
        footer=f"msgformer {version('msgformer')}, {datetime.now().astimezone():%Y-%m-%d %H:%M}",
    )

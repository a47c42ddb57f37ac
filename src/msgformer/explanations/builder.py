"""Trace a model on images, and write the page, the figures and the arrays."""

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
from msgformer.explanations.overlay import ExplainedImage
from msgformer.explanations.page import ExplainPage
from msgformer.explanations.significance import trace_significance
from msgformer.model_types import ModelLike
from msgformer.models import MsgTransformer, NoMessengers, SgFormer
from msgformer.models.guided_attention import HybridAttention
from msgformer.models.loading import load_weights
from msgformer.tasks.device import find_device
from msgformer.tasks.explain_view import ExplainOptions, View
from msgformer.tasks.loaded_model import open_any
from msgformer.tasks.opened_model import OpenedModel
from msgformer.tasks.progress import track_progress
from msgformer.training.build import build_model, default_size

PAGE, DATA, ARRAYS = "explain.html", "explain.json", "arrays.safetensors"
MAX_NAME_LENGTH = 60
"""Maximum number of characters of an image's name in the name of its folder."""


def find_backbone(model: nn.Module, what: str) -> MsgTransformer | SgFormer:
    """Find the MSG-Transformer or SG-Former in a model.

    Args:
        model: Classifier, detector or segmenter.
        what: Description of the model for the error message.

    Raises:
        UserError: The model has neither.
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
    """Model to explain.

    Attributes:
        name: Name of the model.
        model: The model.
        backbone: The MSG-Transformer or SG-Former in it.
        weights: File of the weights; None for initial weights and for a module in memory.
    """

    name: str
    model: OpenedModel
    backbone: MsgTransformer | SgFormer
    weights: Path | None

    @classmethod
    def of_model(cls, source: ModelLike) -> Subject:
        """Create the subject of a trained model.

        Raises:
            UserError: The model can't be read, is untrained, or is of another family.
        """
        opened = open_any(source)
        opened.require_trained("explain")
        model = OpenedModel(opened.card, copy.deepcopy(opened.module).cpu().eval(), path=opened.path)
        return cls(
            opened.card.model,
            model,
            find_backbone(model.module, f"{opened.name} is of {opened.card.model}"),
            opened.path,
        )

    @classmethod
    def by_name(cls, name: str, model_args: dict[str, Any], weights: Path | None, seed: int) -> Subject:
        """Create a classifier of this package with the weights of a checkpoint, or with random initial weights.

        Args:
            name: Name of the model.
            model_args: Further arguments of its constructor.
            weights: Checkpoint; None for initial weights.
            seed: Random seed of the initial weights.

        Raises:
            UserError: An argument is unknown, the weights do not fit, or the model has nothing to explain.
        """
        size = default_size(name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module: Any = build_model(name, model_args.get("num_classes", 1000), size, model_args).eval()
        if weights is not None:
            load_weights(module, weights, may_differ=("head",))
        backbone = find_backbone(module, f"{name} is made with model_args {model_args}")
        images = Preprocessing.of(module, size, model_args.get("in_chans", 3), PreprocessOptions())
        classes = [str(index) for index in range(model_args.get("num_classes", 1000))]
        card = ModelCard(name, model_args, classes, images.to_dict())
        return cls(name, OpenedModel(card, module, is_trained=weights is not None), backbone, weights)

    def read(self, images: Iterable[ImageInput], max_images: int) -> list[tuple[ImageInput, Image.Image]]:
        """Load all images.

        Args:
            images: Images to load.
            max_images: Maximum number of images.

        Raises:
            UserError: An image can't be read, or there are too many.
        """
        inputs = list(islice(images, max_images + 1))
        if len(inputs) > max_images:
            raise UserError(f"images: there are more than {max_images}, too many for one page; give fewer")
        return [(one, one.load(value_range=self.model.card.value_range)) for one in inputs]

    def check(self, options: ExplainOptions) -> None:
        """Check that the requested blocks exist; raise UserError otherwise."""
        known = [
            f"{stage}.{number}"
            for stage, blocks in enumerate(self.backbone.stages, 1)
            for number, block in enumerate(blocks.blocks, 1)
            if isinstance(self.backbone, MsgTransformer) or isinstance(block.attn, HybridAttention)
        ]
        for block in options.blocks or []:
            if str(block) not in known:
                what = "block" if isinstance(self.backbone, MsgTransformer) else "block that measures significance"
                raise UserError(f"blocks: {self.name} has no {what} {block}; it has {', '.join(known)}")

    def trace(self, view: View, options: ExplainOptions, device: torch.device) -> list[Block]:
        """Trace the requested blocks on an image.

        Args:
            view: Preprocessed image.
            options: Options of `msgformer.explain`.
            device: Device to compute on.
        """
        image = view.inputs.to(device)
        traced: Sequence[Block]
        if isinstance(self.backbone, MsgTransformer):
            traced = trace_messengers(self.backbone, image, options.gradients)
        else:
            traced = trace_significance(self.backbone, image)
        requested = None if options.blocks is None else {str(block) for block in options.blocks}
        return [block for block in traced if requested is None or block_name(block) in requested]


def write_explanation(
    subject: Subject, inputs: Sequence[tuple[ImageInput, Image.Image]], folder: Path, options: ExplainOptions
) -> list[Path]:
    """Write the page, the arrays and the figures.

    Args:
        subject: Model to explain.
        inputs: Names and images.
        folder: Folder to write to.
        options: Options of `msgformer.explain`.

    Returns:
        Files of the figures.

    Raises:
        UserError: The device does not exist.
    """
    device = find_device(options.device)
    subject.backbone.to(device)
    explained: list[ExplainedImage] = []
    records: list[dict[str, Any]] = []
    figure_files: list[Path] = []
    progress = track_progress(inputs, lambda _: 1, options.progress, "explaining", len(inputs))
    for number, (source, image) in enumerate(progress):
        view = subject.model.task.explain_view(subject.model, image, options)
        one = ExplainedImage(source.name, view.image, subject.trace(view, options, device))
        explained.append(one)
        image_folder = folder / f"{number + 1:04d}-{Path(source.name).stem[:MAX_NAME_LENGTH]}"
        figure_files += _write_image(one, image_folder, each_head=options.each_head)
        sizes = {"picture_size": one.size, "input_size": tuple(view.inputs.shape[-2:])}
        blocks = [block_record(block) for block in one.blocks]
        records.append({"image": source.name, "folder": image_folder.name, **sizes, "blocks": blocks})
    weights = None if subject.weights is None else str(subject.weights)
    content = {"msgformer": version("msgformer"), "model": subject.name, "weights": weights, "images": records}
    (folder / DATA).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(_page(subject, explained).render(), encoding="utf-8")
    return figure_files


def _write_image(image: ExplainedImage, folder: Path, *, each_head: bool) -> list[Path]:
    """Write the arrays and figures of an image; return the files of the figures."""
    folder.mkdir()
    save_file({name: value for block in image.blocks for name, value in block_arrays(block).items()}, folder / ARRAYS)
    written = []
    for name, content in figures(image, each_head=each_head):
        written.append(folder / f"{name}.png")
        written[-1].write_bytes(content)
    return written


def _page(subject: Subject, explained: Sequence[ExplainedImage]) -> ExplainPage:
    has_messengers = isinstance(subject.backbone, MsgTransformer)
    what = (
        "Messenger attention, routes and receptive fields" if has_messengers else "Significance maps and token groups"
    )
    count = "one image" if len(explained) == 1 else f"{len(explained)} images"
    origin = f"weights of {subject.weights or 'a module in memory'}" if subject.model.is_trained else "initial weights"
    untrained_note = ["The model is untrained: its weights are random initial weights."]
    return ExplainPage(
        title=f"Visualization of {subject.name}",
        lead=f"{what} for {count}; {origin}.",
        images=explained,
        notes=[] if subject.model.is_trained else untrained_note,
        footer=f"msgformer {version('msgformer')}, {datetime.now().astimezone():%Y-%m-%d %H:%M}",
    )

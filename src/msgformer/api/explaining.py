"""A model, images brought to its input, and what it does with them, written down."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as transforms

from msgformer.api.device import one_device
from msgformer.api.following import followed
from msgformer.data.dense_options import SegmentImageOptions
from msgformer.data.detect_transforms import to_tensor
from msgformer.data.inputs import ImageInput, find_inputs
from msgformer.data.options import PreprocessOptions
from msgformer.data.preprocessing import Preprocessing, eval_transform
from msgformer.data.segment_transforms import fitted_size
from msgformer.dense.backbone import STRIDES
from msgformer.errors import UserError
from msgformer.insight.explain_arrays import Block, block_arrays, block_name, block_record
from msgformer.insight.explain_figures import figures
from msgformer.insight.explain_page import ExplainPage
from msgformer.insight.messages import trace_messengers
from msgformer.insight.overlay import Explained
from msgformer.insight.significance import trace_significance
from msgformer.models import MsgTransformer, NoMessengers, SgFormer
from msgformer.models.loading import load_weights
from msgformer.models.sg_former import HybridAttention
from msgformer.training.build import build_model, default_size
from msgformer.training.checkpoint import load_model
from msgformer.training.options import Progress

Size = tuple[int, int]

PAGE, DATA, ARRAYS = "explain.html", "explain.json", "arrays.safetensors"
LONGEST_NAME = 60
"""Characters of an image's name that its folder's has at most."""


@dataclass(frozen=True)
class Options:
    """What the user wants; see :func:`msgformer.explain`."""

    img_size: int | Size | None
    whole: bool
    blocks: Sequence[str] | None
    each_head: bool
    gradients: int
    accelerator: str
    progress: Progress


@dataclass(frozen=True)
class View:
    """An image as the body of a model sees it.

    Attributes:
        image: [1, channels, S, T], normalised, and padded at the bottom and the right.
        picture: The part that isn't padding, in RGB.
    """

    image: Tensor
    picture: Image.Image


def find_body(model: nn.Module, what: str) -> MsgTransformer | SgFormer:
    """The part of a model that can be explained.

    Raises:
        UserError: there is none; ``what`` begins the message.
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
        name: The model's.
        task: What it was trained for.
        model: All of it.
        body: The part that can be explained.
        images: How pictures are brought to its input.
        weights: The file that they are from; None for initial ones.
    """

    name: str
    task: str
    model: nn.Module
    body: MsgTransformer | SgFormer
    images: dict[str, Any]
    weights: Path | None

    @classmethod
    def of_checkpoint(cls, path: Path) -> Subject:
        """The model in a checkpoint.

        Raises:
            UserError: it can't be read, or is of a model of another family.
        """
        model, card = load_model(path)
        body = find_body(model, f"{path} is of {card.model}")
        return cls(card.model, card.task, model, body, card.preprocessing, path)

    @classmethod
    def by_name(cls, name: str, model_args: dict[str, Any], weights: Path | None, seed: int) -> Subject:
        """A classifier of this package with a checkpoint's weights, or those that follow from ``seed``.

        Raises:
            UserError: an argument isn't known, the weights don't fit, or there is nothing in it to show.
        """
        size = default_size(name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model: Any = build_model(name, model_args.get("num_classes", 1000), size, model_args).eval()
        if weights is not None:
            load_weights(model, weights, may_differ=("head",))
        images = Preprocessing.of(model, size, model_args.get("in_chans", 3), PreprocessOptions())
        return cls(
            name,
            "classify",
            model,
            find_body(model, f"{name} is made with model_args {model_args}"),
            images.to_dict(),
            weights,
        )

    def read(self, given: Sequence[str], most: int) -> list[tuple[ImageInput, Image.Image]]:
        """All images at the places given, decoded.

        Raises:
            UserError: one can't be read, or there are more than ``most``.
        """
        inputs = list(islice(find_inputs(given), most + 1))
        if len(inputs) > most:
            raise UserError(f"images: there are more than {most}, too many for one page; give fewer")
        return [(one, one.load()) for one in inputs]

    def check(self, options: Options) -> None:
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

    def view(self, picture: Image.Image, options: Options) -> View:
        """A picture as the body sees it."""
        if self.task == "classify":
            settings = _fitted(Preprocessing.from_dict(self.images), picture, options)
            return _view(eval_transform(settings)(picture), settings.mean, settings.std)
        if options.img_size is not None:
            picture = picture.resize(_sides(picture, options.img_size)[::-1], Image.Resampling.BILINEAR)
        model: Any = self.model
        if self.task == "detect":
            image = to_tensor(picture)
            if options.img_size is None:
                image, _ = model.transform.resize(image)
            mean, std = model.transform.image_mean, model.transform.image_std
            return _view(model.transform.normalize(image), mean, std, pad=True)
        if options.img_size is None:
            size = fitted_size((picture.height, picture.width), SegmentImageOptions(**self.images), 1.0)
            picture = transforms.resize(picture, size)
        image = transforms.normalize(to_tensor(picture), list(model.mean), list(model.std))
        return _view(image, model.mean, model.std, pad=True)

    def trace(self, view: View, options: Options, device: torch.device) -> list[Block]:
        """What the blocks asked for do with an image."""
        image = view.image.to(device)
        traced: Sequence[Block]
        if isinstance(self.body, MsgTransformer):
            traced = trace_messengers(self.body, image, options.gradients)
        else:
            traced = trace_significance(self.body, image)
        wanted = None if options.blocks is None else {str(block) for block in options.blocks}
        return [block for block in traced if wanted is None or block_name(block) in wanted]


def write_explanation(
    subject: Subject, inputs: Sequence[tuple[ImageInput, Image.Image]], folder: Path, options: Options
) -> list[Path]:
    """Write the page, the numbers and the pictures; gives the pictures.

    Raises:
        UserError: the device isn't there.
    """
    device = one_device(options.accelerator, "32-true").device
    subject.body.to(device)
    explained: list[Explained] = []
    records: list[dict[str, Any]] = []
    pictures: list[Path] = []
    for number, (one, picture) in enumerate(followed(inputs, lambda _: 1, options.progress, "explaining", len(inputs))):
        view = subject.view(picture, options)
        image = Explained(one.name, view.picture, subject.trace(view, options, device))
        explained.append(image)
        part = folder / f"{number + 1:04d}-{Path(one.name).stem[:LONGEST_NAME]}"
        pictures += _write_image(image, part, each_head=options.each_head)
        sizes = {"picture_size": image.size, "input_size": tuple(view.image.shape[-2:])}
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
    origin = "initial weights" if subject.weights is None else f"weights of {subject.weights}"
    initial = ["The weights are initial, random ones: nothing here was learned."]
    return ExplainPage(
        title=f"Inside {subject.name}",
        lead=f"{what} for {count}; {origin}.",
        images=explained,
        notes=initial if subject.weights is None else [],
        footer=f"msgformer {version('msgformer')}, {datetime.now().astimezone():%Y-%m-%d %H:%M}",
    )


def _fitted(settings: Preprocessing, picture: Image.Image, options: Options) -> Preprocessing:
    """A classifier's settings with the size asked for; of whole images, for the picture's shape."""
    channels, *trained = settings.input_size
    wanted = options.img_size
    if options.whole:
        height, width = _sides(picture, min(trained) if wanted is None else wanted)
        return dataclasses.replace(settings, input_size=(channels, height, width), crop_pct=1.0, crop_mode="squash")
    if wanted is None:
        return settings
    height, width = (wanted, wanted) if isinstance(wanted, int) else wanted
    return dataclasses.replace(settings, input_size=(channels, height, width))


def _sides(picture: Image.Image, wanted: int | Size) -> Size:
    """Height and width: those wanted, or with the shorter side wanted and the picture's shape."""
    if not isinstance(wanted, int):
        return wanted[0], wanted[1]
    scale = wanted / min(picture.size)
    return max(1, round(picture.height * scale)), max(1, round(picture.width * scale))


def _view(image: Tensor, mean: Sequence[float], std: Sequence[float], *, pad: bool = False) -> View:
    """A normalised image [channels, h, w] as a model's body sees it, and what is to be seen in it.

    Detectors and segmenters pad images to whole tokens of the last stage, with ``pad``.
    """
    shift, scale = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
    pixels = (255 * (image * scale + shift)).round().clamp(0, 255).byte().expand(3, -1, -1)
    picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    height, width = image.shape[-2:]
    padding = (0, -width % STRIDES[-1], 0, -height % STRIDES[-1]) if pad else (0, 0, 0, 0)
    return View(F.pad(image, padding).unsqueeze(0), picture)

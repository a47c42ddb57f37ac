"""What is exported, and the pictures that the export is checked and calibrated on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from msgformer.api.runs import find_checkpoint
from msgformer.api.weights import read_header
from msgformer.data.dense_options import SegmentImageOptions
from msgformer.data.inputs import find_inputs
from msgformer.data.options import PreprocessOptions
from msgformer.data.preprocessing import Preprocessing, eval_transform
from msgformer.data.scenes import PHOTOGRAPHS, load_photograph
from msgformer.data.segment_transforms import SegmentEval
from msgformer.data.subsets import reopen_validation
from msgformer.deploy.card import ExportCard, Format
from msgformer.deploy.export import staged, write_export
from msgformer.deploy.optimize import optimize
from msgformer.deploy.program import sizes_of
from msgformer.deploy.runtime import open_session
from msgformer.deploy.verify import Verification, verify
from msgformer.errors import UserError
from msgformer.models.checkpoint import read_checkpoint
from msgformer.models.loading import load_weights, unwrap
from msgformer.training.build import build_model, known_model
from msgformer.training.checkpoint import KEY, ModelCard, load_model, restore

if TYPE_CHECKING:
    from PIL import Image

CHECKED, CALIBRATED = 8, 300
"""Pictures to check an export on, and most to calibrate it on."""


@dataclass(frozen=True)
class Source:
    """A model to export.

    Attributes:
        model: In evaluation mode, on the CPU.
        card: What is known about it.
        size: Height and width of its images.
        run: The folder of its run, where the pictures that it held out are on record; None: there is none.
    """

    model: nn.Module
    card: ModelCard
    size: tuple[int, int]
    run: Path | None = None

    def transform(self) -> Callable[[Image.Image], Tensor]:
        """From a picture to an input [C, H, W] of this size."""
        if self.card.task == "segment":
            height, width = self.size
            views = SegmentEval(SegmentImageOptions(), self.model.mean, self.model.std)  # type: ignore[arg-type]
            return lambda picture: views.exactly(picture, (height, width))
        settings = Preprocessing.from_dict({**self.card.preprocessing, "input_size": [self.channels, *self.size]})
        return eval_transform(settings)

    @property
    def channels(self) -> int:
        """Of the input."""
        return 3 if self.card.task == "segment" else int(self.card.preprocessing["input_size"][0])


def open_source(given: Path, img_size: int | tuple[int, int] | None) -> Source:
    """The model that a run, a checkpoint, converted weights or a name stands for.

    Raises:
        UserError: there is no such model, or it can't be exported.
    """
    size = (img_size, img_size) if isinstance(img_size, int) else img_size
    if given.suffix == ".safetensors" and given.is_file():
        return _converted(given, size)
    if not given.exists() and given.suffix not in (".ckpt", ".pth", ".pt"):
        return _named(str(given), size)
    path = find_checkpoint(given)
    model, card = load_model(path)
    if card.task == "detect":
        raise UserError(f"{path} is of a detector, which has no exported form yet; give a classifier or a segmenter")
    if card.task == "segment":
        side = card.preprocessing["short_side"]
        return Source(model, card, size or (side, side), path.parent)
    return Source(model, card, size or card.img_size, path.parent)


def _named(name: str, size: tuple[int, int] | None, classes: int = 1000) -> Source:
    """A model by its name, with random weights; they are the same each time."""
    name = known_model(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(name, classes, size or (224, 224), {}).eval()
    side = size or tuple(model.pretrained_cfg["input_size"][1:])  # type: ignore[index]
    preprocessing = Preprocessing.of(model, side, 3, PreprocessOptions())
    card = ModelCard(name, {}, [str(label) for label in range(classes)], preprocessing.to_dict())
    return Source(model, card, side)


def _converted(path: Path, size: tuple[int, int] | None) -> Source:
    """Weights of 'msgformer convert', whose file names the model, and says more about a trained one."""
    state, said = read_checkpoint(path), read_header(path)
    if KEY in said:
        card = ModelCard.from_json(said[KEY], path)
        return Source(restore(card, state, path), card, size or card.img_size)
    name, classifier = said.get("model"), unwrap(state).get("head.fc.weight")
    if name is None or classifier is None:
        raise UserError(f"{path} doesn't say which classifier it is of; give a file of 'msgformer convert'")
    source = _named(name, size, len(classifier))
    load_weights(source.model, path)
    return source


def run_export(
    source: Source,
    format: Format,
    path: Path,
    batch_size: int,
    calibration: Path | None,
    *,
    dynamic_batch: bool,
    dynamic_size: bool,
    int8: bool,
) -> tuple[ExportCard, str, Verification]:
    """Write, check and move into place.

    Returns:
        The file's card, what it was checked on, and how it compares.

    Raises:
        UserError: see :func:`msgformer.export`.
    """
    card = export_card(source, format, batch_size, dynamic_batch=dynamic_batch, dynamic_size=dynamic_size, int8=int8)
    pictures, told = _real_pictures(source)
    batches = list(_calibration_batches(source, calibration, card)) if int8 else []
    inputs = torch.stack([source.transform()(picture) for picture in pictures])
    with staged(path) as unfinished:
        write_export(optimize(source.model), card, unfinished, batches)
        found = verify(source.model, open_session(unfinished, "cpu"), inputs)
    return card, told, found


def export_card(
    source: Source,
    format: Format,
    batch_size: int,
    *,
    dynamic_batch: bool = False,
    dynamic_size: bool = False,
    int8: bool = False,
) -> ExportCard:
    """What a file made of a model is to say about itself; the arguments are those of :func:`msgformer.export`."""
    card, preprocessing = source.card, source.card.preprocessing
    if card.task == "classify":
        preprocessing = {**preprocessing, "input_size": [source.channels, *source.size]}
    mean, std = (getattr(source.model, name, None) for name in ("mean", "std"))
    return ExportCard(
        format=format,
        task=card.task,
        model=card.model,
        classes=card.classes,
        preprocessing=preprocessing,
        sizes=sizes_of(source.model, source.size, batch_size, dynamic_batch=dynamic_batch, dynamic_size=dynamic_size),
        channels=source.channels,
        mean=mean,
        std=std,
        precision="int8" if int8 else "float32",
        version=card.version,
    )


def _real_pictures(source: Source) -> tuple[list[Image.Image], str]:
    """Pictures to check an export on: some that the run held out, or else photographs that packages bring along."""
    held_out = _held_out(source, CHECKED)
    if held_out:
        return held_out, "pictures that the run held out"
    names = [name for subset in PHOTOGRAPHS.values() for name in subset][:CHECKED]
    return [load_photograph(name) for name in names], "photographs of scikit-learn and scikit-image"


def _held_out(source: Source, count: int) -> list[Image.Image]:
    """Some of the pictures that a classifier's run held out, from all over; none where they aren't at hand."""
    data = source.card.data
    if source.run is None or not data or source.card.task != "classify":
        return []
    try:
        fraction, seed = data["val_fraction"], data["seed"]
        pictures = reopen_validation(source.run, data["path"], source.card.classes, fraction, seed)
        total = len(pictures.labels)
        return [pictures.load(index) for index in range(0, total, max(1, total // count))[:count]]
    except UserError:  # moved or removed since: photographs do
        return []


def _calibration_batches(source: Source, calibration: Path | None, card: ExportCard) -> Iterable[Tensor]:
    """Inputs to quantise with, as many at a time as the file takes, one where that is dynamic."""
    if calibration is not None:
        pictures = [one.load() for one in islice(find_inputs([str(calibration)]), CALIBRATED)]
    else:
        pictures = _held_out(source, CALIBRATED)
    if not pictures:
        raise UserError("int8 needs pictures to calibrate on; give --calibration FOLDER")
    transform = source.transform()
    inputs = [transform(picture) for picture in pictures]
    batch = card.sizes.fixed_batch or 1
    return [torch.stack(_filled(inputs[first : first + batch], batch)) for first in range(0, len(inputs), batch)]


def _filled(inputs: Sequence[Tensor], count: int) -> list[Tensor]:
    return [*inputs, *[inputs[-1]] * (count - len(inputs))]

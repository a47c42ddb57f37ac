"""What is exported, and how its pictures become inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from msgformer.api.export_pictures import calibration_batches, real_pictures
from msgformer.api.runs import find_checkpoint
from msgformer.data.dense_options import SegmentImageOptions
from msgformer.data.detect_transforms import to_tensor
from msgformer.data.options import PreprocessOptions
from msgformer.data.preprocessing import Preprocessing, eval_transform
from msgformer.data.segment_transforms import SegmentEval
from msgformer.deploy.card import ExportCard, Format
from msgformer.deploy.export import staged, write_export
from msgformer.deploy.exported_detector import fill_up, fit_into
from msgformer.deploy.graph import output_names
from msgformer.deploy.optimize import optimize
from msgformer.deploy.program import sizes_of
from msgformer.deploy.runtime import open_session
from msgformer.deploy.verify import Verification, verify
from msgformer.errors import UserError
from msgformer.headers import read_header
from msgformer.models.checkpoint import read_checkpoint
from msgformer.models.loading import load_weights, unwrap
from msgformer.training.build import build_model, known_model
from msgformer.training.checkpoint import KEY, ModelCard, load_model, restore

if TYPE_CHECKING:
    from PIL import Image


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
        if self.card.task == "detect":
            detector: Any = self.model.get_submodule("transform")
            return lambda picture: fill_up(fit_into(detector.normalize(to_tensor(picture)), self.size), self.size)
        settings = Preprocessing.from_dict({**self.card.preprocessing, "input_size": [self.channels, *self.size]})
        return eval_transform(settings)

    @property
    def channels(self) -> int:
        """Of the input."""
        return int(self.card.preprocessing["input_size"][0]) if self.card.task == "classify" else 3

    @property
    def normalization(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """Mean and standard deviation that a detector's or a segmenter's input is normalised with, by channel."""
        if self.card.task == "detect":
            transform: Any = self.model.get_submodule("transform")
            return tuple(transform.image_mean), tuple(transform.image_std)
        return getattr(self.model, "mean", None), getattr(self.model, "std", None)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How a picture becomes an input, as a file of this size says it."""
        if self.card.task == "detect":
            transform: Any = self.model.get_submodule("transform")
            return {"min_size": transform.min_size[0] or None, "max_size": transform.max_size}
        changed = {"input_size": [self.channels, *self.size]} if self.card.task == "classify" else {}
        return {**self.card.preprocessing, **changed}


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
    return Source(model, card, size or _evaluated_at(model, card), path.parent)


def _evaluated_at(model: nn.Module, card: ModelCard) -> tuple[int, int]:
    """Height and width that images have in evaluation; of dense models, those of a square or a broad one."""
    if card.task == "detect":
        transform: Any = model.get_submodule("transform")
        return transform.min_size[0] or transform.max_size, transform.max_size
    if card.task == "segment":
        return (card.preprocessing["short_side"],) * 2
    return card.img_size


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
    pictures, told = real_pictures(source.run, source.card)
    transform, batch = source.transform(), card.sizes.fixed_batch or 1
    batches = calibration_batches(calibration, source.run, source.card, transform, batch) if int8 else []
    inputs = torch.stack([transform(picture) for picture in pictures])
    with staged(path) as unfinished:
        # optimize writes for PyTorch's kernels on CPUs; files that ExecuTorch 1.5 makes of it give other answers.
        model = source.model if format == "executorch" else optimize(source.model)
        write_export(model, card, unfinished, batches)
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
    card = source.card
    if card.task == "detect":
        _check_detector(format, int8=int8, single=batch_size == 1 and not dynamic_batch)
    mean, std = source.normalization
    return ExportCard(
        format=format,
        task=card.task,
        model=card.model,
        classes=card.classes,
        preprocessing=source.preprocessing,
        sizes=sizes_of(source.model, source.size, batch_size, dynamic_batch=dynamic_batch, dynamic_size=dynamic_size),
        channels=source.channels,
        outputs=output_names(source.model),
        mean=mean,
        std=std,
        precision="int8" if int8 else "float32",
        version=card.version,
    )


def _check_detector(format: Format, *, int8: bool, single: bool) -> None:
    """Refuse what detectors have no form for; raises UserError."""
    if format not in ("onnx", "openvino"):
        raise UserError(f"format {format}: not for detectors; give --format onnx or openvino")
    if int8:
        raise UserError("int8: not for detectors; leave it out")
    if not single:
        raise UserError("a detector's file takes one image at a time; leave out --batch-size and --dynamic-batch")

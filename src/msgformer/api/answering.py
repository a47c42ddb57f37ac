"""A trained classifier on a device, ready to answer about batches of images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from msgformer.api.device import one_device
from msgformer.api.exported import open_model
from msgformer.api.mindspore import Library, mindspore_logits
from msgformer.catalog import MODELS
from msgformer.data.preprocessing import Preprocessing
from msgformer.deploy.card import is_exported
from msgformer.errors import UserError
from msgformer.training.checkpoint import ModelCard, load_model
from msgformer.training.options import Precision


class Answerer:
    """A trained model, and how images are brought to its input.

    Args:
        checkpoint: Its weights, or an exported file.
        accelerator: "auto", "cpu", "gpu" or another that Lightning knows.
        precision: Number format, in Lightning's words.
        flip: Answer by the mean of the probabilities for an image and for its mirror image.
        img_size: Side of the square, or height and width, that images are brought to; None: as in training.
        devices: The device's number in a list; 1: the first that is free to use.
        backend: Library that the model runs in; with MindSpore the device is the CPU.
        **changes: Other settings of the preprocessing to change; None leaves one as it is.

    Attributes:
        card: What the checkpoint says about the model.
        preprocessing: As changed.
        parameters: Numbers that the model learned.

    Raises:
        UserError: the checkpoint or the device can't be used, or the model takes no images of that size.
    """

    def __init__(
        self,
        checkpoint: Path,
        accelerator: str = "auto",
        precision: Precision = "32-true",
        *,
        flip: bool = False,
        img_size: int | tuple[int, int] | None = None,
        devices: int | list[int] = 1,
        backend: Library = "torch",
        **changes: Any,
    ) -> None:
        if backend != "mindspore":
            model, self.card = open_model(checkpoint, accelerator, precision)
        elif is_exported(checkpoint):
            raise UserError(f"backend: {checkpoint} is an exported file, which MindSpore can't run; leave it out")
        else:
            model, self.card = load_model(checkpoint)  # the weights as they were trained, not folded
        if self.card.task != "classify":
            raise UserError(f"checkpoint: {checkpoint} is of a model to {self.card.task}; a classifier is needed here")
        self.flip = flip
        self.preprocessing = _changed(self.card, img_size, changes)
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        size = self.preprocessing.input_size[1:]
        if size != self.card.img_size:
            _resize(model, self.card, size)
        self._logits: Callable[[Tensor], Tensor]
        if backend == "mindspore":
            self._logits = mindspore_logits(model, self.card)
        else:
            self._logits = _torch_logits(model, one_device(accelerator, precision, devices))
        if size != self.card.img_size:
            self._try(size)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Logarithms of the probabilities [B, classes] of images [B, channels, height, width], on the CPU."""
        answers = self._logits(images).log_softmax(-1)
        if self.flip:
            mirrored = self._logits(images.flip(-1)).log_softmax(-1)
            answers = torch.logaddexp(answers, mirrored) - math.log(2)
        return answers.cpu()

    def _try(self, size: tuple[int, int]) -> None:
        """Make sure that the model takes images of a size that it wasn't trained at."""
        try:
            self(torch.zeros(1, *self.preprocessing.input_size))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise _no_such_size(self.card, size, error) from error


def _torch_logits(model: nn.Module, fabric: Fabric) -> Callable[[Tensor], Tensor]:
    """The model on its device: images [B, channels, height, width] to float32 logits [B, classes]."""
    ready = fabric.setup_module(model)
    return lambda images: ready(fabric.to_device(images)).float()


def _changed(card: ModelCard, img_size: int | tuple[int, int] | None, changes: dict[str, Any]) -> Preprocessing:
    """The card's preprocessing with what is given in its place."""
    settings = Preprocessing.from_dict(card.preprocessing)
    given = {key: value for key, value in changes.items() if value is not None}
    if img_size is not None:
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        given["input_size"] = (settings.input_size[0], height, width)
    return dataclasses.replace(settings, **given)


def _resize(model: nn.Module, card: ModelCard, size: tuple[int, int]) -> None:
    """Prepare a model for images of a size that it wasn't trained at; this package's and many others need nothing."""
    config = None if card.model in MODELS else get_pretrained_cfg(card.model)
    if config is None or not config.fixed_input_size:
        return
    try:
        model.set_input_size(img_size=size)  # type: ignore[operator]
    except (AssertionError, AttributeError, RuntimeError, ValueError) as error:
        raise _no_such_size(card, size, error) from error


def _no_such_size(card: ModelCard, size: tuple[int, int], error: Exception) -> UserError:
    trained = " x ".join(map(str, card.img_size))
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return UserError(f"img_size: {card.model} of {trained} takes no images of {size[0]} x {size[1]} ({reason})")

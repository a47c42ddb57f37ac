"""A model with its device and precision, as every command runs it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgformer.checkpoints.model_location import find_model
from msgformer.errors import UserError
from msgformer.tasks.opened_model import OpenedModel, open_model, wrap_module
from msgformer.tasks.prediction.predictor import InferenceConfig

if TYPE_CHECKING:
    from msgformer.model_types import ModelLike

DEFAULT_PRECISION = ("float32", "32-true")
"""The default precision, by its name and by its name in Lightning."""


class LoadedModel:
    """An opened model with its configuration of inference.

    Args:
        opened: The model.
        config: Device, precision and batches.
    """

    def __init__(self, opened: OpenedModel, config: InferenceConfig) -> None:
        self.opened, self.config = opened, config

    def reconfigure(self, device: str, precision: str, *, optimize: bool) -> LoadedModel:
        """Return the model with other options; default values keep the present ones.

        Args:
            device: As for `msgformer.load`.
            precision: As for `msgformer.load`.
            optimize: As for `msgformer.load`.

        Raises:
            UserError: The device or the precision can't be used.
        """
        config = self.config
        if device not in ("auto", config.device):
            if self.opened.session is not None:
                raise UserError(f"device: {self.opened.name} is open on {config.device}; load the file again")
            config = replace(config, device=device)
        if precision not in DEFAULT_PRECISION:
            config = replace(config, precision=precision)
        if not optimize:
            config = replace(config, optimize=False)
        if config == self.config:
            return self
        config.placement()
        _check_precision(self.opened, config.precision)
        return type(self)(self.opened, config)


def load_any(
    model: ModelLike,
    *,
    device: str = "auto",
    precision: str = "float32",
    optimize: bool = True,
    trust: bool = False,
) -> LoadedModel:
    """Open a model of any kind for a device and a precision.

    Args:
        model: As for `msgformer.load`, like the other arguments.
        device: Device.
        precision: Precision.
        optimize: Whether to run an optimized copy.
        trust: Allow machine code in the file to run.

    Raises:
        UserError: The model, the device or the precision can't be used.
    """
    if isinstance(model, LoadedModel):
        return model.reconfigure(device, precision, optimize=optimize)
    config = InferenceConfig(device, precision, optimize=optimize)
    config.placement()
    opened = open_any(model, device=device, trust=trust)
    _check_precision(opened, precision)
    return LoadedModel(opened, config)


def open_any(
    model: ModelLike, *, img_size: tuple[int, int] | None = None, device: str = "auto", trust: bool = False
) -> OpenedModel:
    """Open a model of any kind, and warn on standard error if its weights are random.

    Args:
        model: As for `msgformer.load`.
        img_size: Height and width of the images, for a model given by its name or by converted weights.
        device: Device that an exported file runs on.
        trust: Allow machine code in the file to run.

    Raises:
        UserError: The model can't be opened.
    """
    if isinstance(model, LoadedModel):
        return model.opened
    if not isinstance(model, str | Path):
        return wrap_module(model)
    opened = open_model(find_model(model, "model"), img_size=img_size, device=device, trust=trust)
    if not opened.is_trained:
        print(f"{opened.name} is untrained: its weights are random", file=sys.stderr)
    return opened


def _check_precision(opened: OpenedModel, precision: str) -> None:
    if opened.session is not None and precision not in DEFAULT_PRECISION:
        raise UserError(f"precision: {opened.name} has the precision of its export; leave --precision out")

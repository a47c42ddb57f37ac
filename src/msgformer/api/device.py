"""A trained model on the one device that asks it."""

from __future__ import annotations

from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import LightningEnvironment
from torch import nn

from msgformer.training.options import Precision
from msgformer.training.precision import known_precision
from msgformer.training.trainer import quiet, refusals


def one_device(accelerator: str, precision: Precision, devices: int | list[int] = 1) -> Fabric:
    """A device for one process.

    Args:
        accelerator: "auto", "cpu", "gpu" or another that Lightning knows.
        precision: Number format, in Lightning's words.
        devices: The device's number in a list; 1: the first that is free to use.

    Raises:
        UserError: the device isn't there.
    """
    with quiet(), refusals():
        # One device in this process, even inside of a job of many: of those, only the first one asks.
        number = known_precision(precision, accelerator)
        return Fabric(accelerator=accelerator, devices=devices, precision=number, plugins=[LightningEnvironment()])


def to_device(model: nn.Module, accelerator: str, precision: Precision) -> tuple[Fabric, nn.Module]:
    """The device and the model on it; the arguments and errors are those of :func:`one_device`."""
    fabric = one_device(accelerator, precision)
    return fabric, fabric.setup_module(model)

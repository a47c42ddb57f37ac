"""Device and precision of a trained model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from msgformer.errors import UserError
from msgformer.training.precision import resolve_precision

DEVICE_ALIASES = {"gpu": "cuda", "cuda": "cuda", "cpu": "cpu", "mps": "mps", "xpu": "xpu"}
"""Device types of torch by their names, with Lightning's "gpu"."""

PRECISION_ALIASES = {"bf16": "bf16-mixed", "fp16": "16-mixed", "float32": "32-true", "float64": "64-true"}
"""Precisions for inference, and their names in Lightning, which are accepted too."""

AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""Data type of matrix products under autocast; weights stay in float32."""

CAST = {"bf16-true": torch.bfloat16, "64-true": torch.float64}
"""Data type of weights and images."""


@dataclass(frozen=True)
class Placement:
    """A device and a precision.

    Attributes:
        device: The device.
        autocast: Data type of autocast; None computes without it.
        dtype: Data type of weights and images.
    """

    device: torch.device
    autocast: torch.dtype | None = None
    dtype: torch.dtype = torch.float32

    def place(self, model: nn.Module) -> Callable[..., Any]:
        """Move a model to the device.

        Args:
            model: Model in evaluation mode, which is moved in place.

        Returns:
            The model as a function of tensors on any device; outputs are on this device, in float32.
        """
        placed = model.to(self.device, self.dtype)

        def run(*inputs: Any) -> Any:
            with self._autocast(), torch.inference_mode():
                return _map_tensors(placed(*_map_tensors(inputs, self._to_input)), _to_output)

        return run

    def _autocast(self) -> Any:
        return nullcontext() if self.autocast is None else torch.autocast(self.device.type, self.autocast)

    def _to_input(self, value: Tensor) -> Tensor:
        return value.to(self.device, self.dtype if value.is_floating_point() else None, non_blocking=True)


def find_placement(device: str = "auto", precision: str = "float32") -> Placement:
    """Find a device and a precision by their names.

    Args:
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:0", "mps", or "gpu".
        precision: "float32", "bf16", "fp16", or "auto" for bf16 if the device multiplies in bfloat16. Lightning's names
            are accepted too: "32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true".

    Raises:
        UserError: There is no such device or format, or the device can't compute in the format.
    """
    found = find_device(device)
    name = resolve_precision(PRECISION_ALIASES.get(precision, precision), found.type)
    if name == "16-mixed" and found.type == "cpu":
        raise UserError("precision: fp16 needs a GPU, and this runs on the CPU; give bf16 or float32")
    if name not in (*AUTOCAST, *CAST, "32-true"):
        raise UserError(f"precision must be float32, bf16 or fp16, not {precision!r}")
    return Placement(found, AUTOCAST.get(name), CAST.get(name, torch.float32))


def find_device(device: str = "auto") -> torch.device:
    """Find a device by its name.

    Args:
        device: As for `find_placement`.

    Raises:
        UserError: There is no such device.
    """
    if device == "auto":
        return _accelerator() or _CPU
    kind, _, index = str(device).partition(":")
    is_index = index.isdigit() or not index
    if kind not in DEVICE_ALIASES or not is_index or (kind == "cpu" and index not in ("", "0")):
        raise UserError(f"device must be auto, cpu, cuda or cuda:N, not {device!r}")
    if kind == "cpu":
        return _CPU
    available = _accelerator()
    if available is None or (available.type != DEVICE_ALIASES[kind] and kind != "gpu"):
        raise UserError(f"device: there is no {DEVICE_ALIASES[kind]} device on this machine; give cpu or auto")
    count = torch.accelerator.device_count()
    if index and int(index) >= count:
        raise UserError(f"device: there is no {device} among {count} device(s); give a number from 0 to {count - 1}")
    return torch.device(available.type, int(index)) if index else torch.device(available.type)


_CPU = torch.device("cpu")


def _accelerator() -> torch.device | None:
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def _to_output(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _map_tensors(values: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to all tensors in nested lists, tuples and dictionaries."""
    if isinstance(values, Tensor):
        return change(values)
    if isinstance(values, Mapping):
        return {key: _map_tensors(value, change) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(_map_tensors(value, change) for value in values)
    return values

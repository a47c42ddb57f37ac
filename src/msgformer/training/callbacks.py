"""Lightning callbacks of the user: checked before a training, and their state before it is saved."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from msgformer.errors import UserError

LARGE = ("state_dict", "optimizer_states")
"""Entries of a checkpoint that only this package and PyTorch write, and that take long to check."""


def check_callbacks(callbacks: Any) -> list[Callback]:
    """The callbacks as a list.

    Args:
        callbacks: As the user gives them: None, one, or several.

    Raises:
        UserError: One isn't a Lightning callback, or has a state that no checkpoint may hold.
    """
    if callbacks is None:
        return []
    given = [callbacks] if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable) else [*callbacks]
    for callback in given:
        if isinstance(callback, type):
            raise UserError(f"callbacks: {callback.__name__} is a class; give an instance, {callback.__name__}(...)")
        if not isinstance(callback, Callback):
            hint = "; import it from lightning, not from pytorch_lightning" if _is_other_lightning(callback) else ""
            raise UserError(f"callbacks: {callback!r} is not a lightning.pytorch.callbacks.Callback{hint}")
        if not is_plain(callback.state_dict()):
            raise UserError(f"callbacks: the state_dict of {type(callback).__name__} holds {PLAIN_REMEDY}")
    return given


PLAIN_REMEDY = "other objects than tensors and plain values, which no checkpoint can hold; convert them there"


def is_plain(value: Any) -> bool:
    """Whether a value can be saved and loaded again without executing code: tensors and plain values."""
    buffer = io.BytesIO()
    try:
        torch.save(value, buffer)
        buffer.seek(0)
        torch.load(buffer, map_location="cpu", weights_only=True)
    except Exception:  # whatever pickling an object of the user's raises
        return False
    return True


class StateGuard:
    """Leaves out of a checkpoint what it could not be loaded with, so that saving never ends a training.

    Each entry is reported once.
    """

    def __init__(self) -> None:
        self._told: set[str] = set()

    def clean(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """The checkpoint without entries, and without states of callbacks, that aren't plain."""
        kept = {key: value for key, value in checkpoint.items() if key in LARGE or is_plain(value)}
        states = checkpoint.get("callbacks")
        if "callbacks" not in kept and isinstance(states, dict):
            kept["callbacks"] = {key: state for key, state in states.items() if is_plain(state)}
            self._tell(f"state of the callback {key}" for key in states.keys() - kept["callbacks"].keys())
        self._tell(f"entry {key!r}" for key in checkpoint.keys() - kept.keys())
        return kept

    def _tell(self, entries: Iterable[str]) -> None:
        for entry in entries:
            if entry not in self._told:
                self._told.add(entry)
                line = f"warning: the {entry} isn't saved, and a resumed run won't have it: it holds {PLAIN_REMEDY}"
                print(line, file=sys.stderr, flush=True)


def _is_other_lightning(callback: object) -> bool:
    """Whether something is a callback of the package ``pytorch_lightning``, whose classes are others."""
    return any(cls.__module__.startswith("pytorch_lightning.") for cls in type(callback).__mro__)

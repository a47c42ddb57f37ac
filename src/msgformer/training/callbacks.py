"""The user's Lightning callbacks, checked before training, and their states, checked before they are saved."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from msgformer.errors import UserError

LARGE = ("state_dict", "optimizer_states")
"""Entries of a checkpoint that are not checked: only this package and PyTorch write them, and they are large."""

PLAIN_REMEDY = "other objects than tensors and plain values, which no checkpoint can hold; convert them there"


def check_callbacks(callbacks: Any) -> list[Callback]:
    """Return the callbacks as a list.

    Args:
        callbacks: What the user gave: None, one callback, or several.

    Raises:
        UserError: One is not a Lightning callback, or its state can't be stored in a checkpoint.
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


def is_plain(value: Any) -> bool:
    """Whether a value can be saved and loaded again without executing code: tensors and plain values."""
    buffer = io.BytesIO()
    try:
        torch.save(value, buffer)
        buffer.seek(0)
        torch.load(buffer, map_location="cpu", weights_only=True)
    except Exception:  # pickling the user's objects may raise anything
        return False
    return True


class StateGuard:
    """Removes entries from checkpoints that could not be loaded again, so that saving never ends the training.

    Each entry is reported once.
    """

    def __init__(self) -> None:
        self._told: set[str] = set()

    def clean(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """Return the checkpoint without the entries, and without the states of callbacks, that are not plain."""
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
    """Whether an object is a callback of ``pytorch_lightning``, the other package, whose classes are different."""
    return any(cls.__module__.startswith("pytorch_lightning.") for cls in type(callback).__mro__)

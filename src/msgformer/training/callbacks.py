"""Checks of the user's Lightning callbacks before training, and of their states before saving."""

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
        callbacks: None, one callback, or several.

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
    """Return whether a value consists of tensors and plain values, which are loaded without executing code."""
    buffer = io.BytesIO()
    try:
        torch.save(value, buffer)
        buffer.seek(0)
        torch.load(buffer, map_location="cpu", weights_only=True)
    except Exception:  # pickling the user's objects may raise anything
        return False
    return True


class StateGuard:
    """Removes entries from checkpoints that could not be loaded again, so that saving never fails.

    Each removed entry is reported once on standard error.
    """

    def __init__(self) -> None:
        self._reported: set[str] = set()

    def clean(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """Return the checkpoint without entries and callback states that are not plain."""
        plain = {key: value for key, value in checkpoint.items() if key in LARGE or is_plain(value)}
        states = checkpoint.get("callbacks")
        if "callbacks" not in plain and isinstance(states, dict):
            plain["callbacks"] = {key: state for key, state in states.items() if is_plain(state)}
            self._report(f"state of the callback {key}" for key in states.keys() - plain["callbacks"].keys())
        self._report(f"entry {key!r}" for key in checkpoint.keys() - plain.keys())
        return plain

    def _report(self, entries: Iterable[str]) -> None:
        for entry in entries:
            if entry not in self._reported:
                self._reported.add(entry)
                line = f"warning: the {entry} isn't saved, and a resumed run won't have it: it holds {PLAIN_REMEDY}"
                print(line, file=sys.stderr, flush=True)


def _is_other_lightning(callback: object) -> bool:
    """Return whether an object is a callback of the package ``pytorch_lightning``, whose classes are different."""
    return any(cls.__module__.startswith("pytorch_lightning.") for cls in type(callback).__mro__)

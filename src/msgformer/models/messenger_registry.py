"""Kinds of messengers by name: subclasses of `MsgTransformer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgformer.model_names import nearest

Model = TypeVar("Model")

_MESSENGERS: dict[str, Any] = {}


def register_messengers(name: str) -> Callable[[type[Model]], type[Model]]:
    """Make a kind of messenger available as ``create_model(..., messengers=name)``.

    It is a subclass of `msgformer.models.MsgTransformer`. It may override `first_messengers` to initialize messengers
    differently, or `stage_type` to change the attention; blocks of another stage take the arguments of `Block`.
    """

    def register(cls: type[Model]) -> type[Model]:
        _MESSENGERS[name] = cls
        return cls

    return register


def messenger_class(name: str) -> Any:
    """Return the class that is registered under a name.

    Raises:
        ValueError: There is none; the message names the known ones.
    """
    if name not in _MESSENGERS:
        known = f"{', '.join(_MESSENGERS)}{nearest(name, [*_MESSENGERS])}"
        raise ValueError(f"unknown messengers {name!r}, known: {known}; --plugins MODULE imports a module with its own")
    return _MESSENGERS[name]


def registered_messengers(name: str) -> Any:
    """Return the class that is registered under a name; None if there is none."""
    return _MESSENGERS.get(name)

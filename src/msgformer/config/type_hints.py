"""Type hints of options: which words on the command line they accept, and their description in error messages."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def option_type(hints: Mapping[str, Any], key: str) -> Any:
    """Return the type hint of an option, or None if it has none.

    Args:
        hints: Type hints of a command.
        key: Name of the option, with its groups as in ``optim.lr``; a trailing ``+`` is ignored.
    """
    *groups, name = key.removesuffix("+").split(".")
    for group in groups:
        owner = hints.get(group)
        if not dataclasses.is_dataclass(owner):
            return None
        hints = typing.get_type_hints(owner)
    return hints.get(name)


def is_mapping(hint: Any) -> bool:
    """Return whether an option holds a mapping, as in ``dict[str, Any] | None``."""
    return any(typing.get_origin(part) is dict or part is dict for part in _union_members(hint))


def accepts_text(hint: Any) -> bool:
    """Return whether an option may be text or a path, as in ``str | dict[str, str]``."""
    return any(part in (str, Path) for part in _union_members(hint))


def is_literal(hint: Any) -> bool:
    """Return whether an option is one of a few words."""
    return typing.get_origin(hint) is typing.Literal


def item_type(hint: Any) -> Any:
    """Return the type of the items if a hint is or allows a list, as in ``Path | list[Path]``; otherwise None."""
    lists = [part for part in _union_members(hint) if typing.get_origin(part) is list]
    return typing.get_args(lists[0])[0] if lists else None


def may_be_pair(hint: Any) -> bool:
    """Return whether a hint is or allows ``tuple[X, X]``, as in ``int | tuple[int, int]``."""
    return any(
        typing.get_origin(part) is tuple and len(typing.get_args(part)) == 2 and ... not in typing.get_args(part)
        for part in _union_members(hint)
    )


def belong_together(hint: Any, first: str, second: str) -> bool:
    """Return whether two words can be one value: numbers of a pair or of a list, or choices of a list.

    Args:
        hint: Type hint of the option.
        first: First word of the value.
        second: The next word on the command line.
    """
    item = item_type(hint)
    if is_literal(item):
        return {first, second} <= set(typing.get_args(item))
    return (may_be_pair(hint) or item in (int, float)) and _is_number(first) and _is_number(second)


def describe_type(hint: Any) -> str:
    """Describe a type for an error message: ``int``, ``a path``, ``one of a, b``, ``float or null``."""
    if is_literal(hint):
        return f"one of {', '.join(str(choice) for choice in typing.get_args(hint))}"
    if _is_union(hint):
        return " or ".join(describe_type(part) for part in typing.get_args(hint))
    names = {types.NoneType: "null", Path: "a path", bool: "true or false"}
    return names.get(hint) or hint.__name__ if isinstance(hint, type) else str(hint)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _union_members(hint: Any) -> list[Any]:
    """Return the members of a union, or a list of the hint itself."""
    return list(typing.get_args(hint)) if _is_union(hint) else [hint]


def _is_number(word: str) -> bool:
    return re.fullmatch(r"\d+(\.\d*)?", word) is not None

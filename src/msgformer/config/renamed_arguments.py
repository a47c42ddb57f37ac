"""Old names of arguments and options, which work for one release."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar, cast

from msgformer.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])

ATTRIBUTE = "renamed"
"""Attribute of a function or dataclass that maps its old names to the new ones."""


def renamed_arguments(**names: str) -> Callable[[F], F]:
    """Accept old names of the arguments of a command or of a group of options, with a warning for each.

    A keyword in Python is replaced here. The parser reads the same names for the command line, and `use_new_options`
    for configuration files.

    Args:
        **names: The new name of each old one.
    """

    def decorate(function: F) -> F:
        if isinstance(function, type):
            function.__init__ = decorate(function.__init__)  # type: ignore[misc]
            setattr(function, ATTRIBUTE, names)
            return function

        @functools.wraps(function)
        def renamed(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **use_new_names(kwargs, names, warn_caller))

        setattr(renamed, ATTRIBUTE, names)
        return cast(F, renamed)

    return decorate


def renamed_options(function: object, hints: Mapping[str, Any]) -> dict[str, str]:
    """Return the new name of each old option, with its group as in ``optim.lr``.

    Args:
        function: The command; None for the groups only.
        hints: Type hints of its arguments, or dataclasses by the name of their group.
    """
    own: Mapping[str, str] = getattr(function, ATTRIBUTE, {})
    groups = {group: getattr(hint, ATTRIBUTE, {}) for group, hint in hints.items()}
    grouped = {f"{group}.{old}": f"{group}.{new}" for group, names in groups.items() for old, new in names.items()}
    return {**own, **grouped}


def use_new_names(
    values: Mapping[str, Any], names: Mapping[str, str], warn: Callable[[str], object], prefix: str = ""
) -> dict[str, Any]:
    """Replace old names among the keys of a mapping.

    Args:
        values: Values by name.
        names: The new name of each old one.
        warn: Called with one line for each old name.
        prefix: Prefix of the names in messages.

    Raises:
        UserError: A value is given under both of its names.
    """
    for old in (name for name in names if name in values):
        if names[old] in values:
            raise UserError(f"{prefix}{old} is the old name of {prefix}{names[old]}; give only {prefix}{names[old]}")
        warn(rename_warning(f"{prefix}{old}", f"{prefix}{names[old]}"))
    renamed = {names.get(key, key): value for key, value in values.items()}
    for group, dot, member in [key.partition(".") for key in renamed]:
        if dot:  # now in a group of options
            renamed[group] = {**_as_mapping(renamed.get(group)), member: renamed.pop(f"{group}.{member}")}
    return renamed


def _as_mapping(group: Any) -> Mapping[str, Any]:
    """Return a group of options, a dataclass, a mapping or None, as a mapping."""
    return vars(group) if is_dataclass(group) else group or {}


def use_new_options(
    values: Mapping[str, Any], hints: Mapping[str, Any], warn: Callable[[str], object] = lambda _: None
) -> dict[str, Any]:
    """Replace old names in the groups of a configuration.

    Args:
        values: Options by name; a group is a mapping.
        hints: Dataclasses by the name of their group.
        warn: Called with one line for each old name; by default they are replaced silently.

    Raises:
        UserError: An option is given under both of its names.
    """
    renamed = {group: names for group, hint in hints.items() if (names := getattr(hint, ATTRIBUTE, None))}
    return {
        key: use_new_names(value, renamed[key], warn, f"{key}.")
        if key in renamed and isinstance(value, Mapping)
        else value
        for key, value in values.items()
    }


def rename_warning(old: str, new: str) -> str:
    """Return the line that says that a name is deprecated.

    Args:
        old: The old name.
        new: The new name.
    """
    return f"{old} is deprecated: its name is {new} now"


def print_warning(message: str) -> None:
    """Print a warning about the command line or a file, where Python's warning would name a line of this package."""
    print(f"msgformer: warning: {message}", file=sys.stderr)


def warn_caller(message: str) -> None:
    """Warn about a keyword in Python, at the line outside this package that gave it."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("msgformer."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, FutureWarning, stacklevel=level)

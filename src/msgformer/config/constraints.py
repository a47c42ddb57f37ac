"""Ranges and choices of options; they are checked before a command starts to work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from itertools import chain
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from msgformer.config.data_options import AugmentOptions, PreprocessOptions
from msgformer.config.dense_data_options import DetectImageOptions, SegmentImageOptions
from msgformer.config.dense_training_options import DetectOptions, SegmentOptions
from msgformer.config.ranges import (
    ABOVE_0,
    AT_LEAST_0,
    AT_LEAST_1,
    AT_LEAST_2,
    FRACTION,
    IS_ASCENDING,
    NEEDS,
    PROBABILITY,
    RANGE,
    Needs,
    Range,
)
from msgformer.config.training_options import DistillOptions, OptimOptions, TrainerOptions
from msgformer.errors import UserError

GROUPS: dict[str, type] = {
    "preprocess": PreprocessOptions,
    "augment": AugmentOptions,
    "detect": DetectOptions,
    "segment": SegmentOptions,
    "detect_images": DetectImageOptions,
    "segment_images": SegmentImageOptions,
    "distill": DistillOptions,
    "optim": OptimOptions,
    "trainer": TrainerOptions,
}
"""Groups of options by name, and their dataclasses, whose fields state their ranges."""

SINGLE: dict[str, Range] = {
    "epochs": AT_LEAST_1,
    "batch_size": AT_LEAST_1,
    "rounds": AT_LEAST_1,
    "threads": AT_LEAST_1,
    "workers": AT_LEAST_0,
    "seed": AT_LEAST_0,
    "seeds": AT_LEAST_1,
    "img_size": AT_LEAST_1,
    "val_fraction": FRACTION,
    "split_seed": AT_LEAST_0,
    "folds": AT_LEAST_2,
    "fold": AT_LEAST_1,
    "top_k": AT_LEAST_1,
    "threshold": PROBABILITY,
    "max_dets": AT_LEAST_1,
    "tile": AT_LEAST_1,
    "tile_overlap": Range(0, 0.9),
    "gradients": AT_LEAST_0,
    "scales": ABOVE_0,
}
"""Ranges of options without a group; an option has the same range in every command."""


REPLACED_BY: dict[str, tuple[str, ...]] = {"val_fraction": ("split_file", "folds")}
"""Options without a group by the options that replace them; an explicit one is refused with those."""


def _grouped(key: str) -> dict[str, Any]:
    """Return what the fields of all groups state in their metadata, by option name."""
    return {
        f"{name}.{one.name}": one.metadata[key]
        for name, group in GROUPS.items()
        for one in fields(group)
        if one.metadata.get(key)
    }


RANGES: dict[str, Range] = SINGLE | _grouped(RANGE)
"""Ranges by option name, including its group."""

ASCENDING = tuple(_grouped(IS_ASCENDING))
"""Options that are pairs of ascending numbers."""

NEEDED: dict[str, Needs] = _grouped(NEEDS)
"""What an option needs to have an effect, by its name including its group."""


def check_ranges(values: Mapping[str, Any]) -> None:
    """Check that numbers are in range.

    Args:
        values: Options by name, including their group as in ``optim.lr``; lists are checked number by number.

    Raises:
        UserError: A number is out of range; the message names the option, its value and the range.
    """
    for key, allowed in RANGES.items():
        value = values.get(key)
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, int | float) and not allowed.contains(number):
                raise UserError(f"{key} must {allowed}, not {number:g}")
    for key in ASCENDING:
        first, last = values.get(key) or (0, 0)
        if first > last:
            raise UserError(f"{key} must ascend, not be {first:g} and {last:g}; swap them")


def check_effects(given: Iterable[str], arguments: Mapping[str, Any]) -> None:
    """Check that explicit options have an effect.

    Args:
        given: Names of the options that the user gave explicitly, including their group as in ``optim.power``.
        arguments: All arguments of the command, with groups of options as dataclasses.

    Raises:
        UserError: An option has no effect; the message names it and the options that it needs.
    """
    for key in given:
        for other in REPLACED_BY.get(key, ()):
            if arguments.get(key) is not None and arguments.get(other) is not None:
                raise UserError(f"{key} has no effect with {other}; leave one of them out")
        name, _, member = key.partition(".")
        needs, group = NEEDED.get(key), arguments.get(name)
        if member not in ("", "enabled") and not getattr(group, "enabled", True):
            raise UserError(f"{key} has no effect with {name}.enabled false; leave one of them out")
        if needs and is_dataclass(group) and not needs.are_given(group):
            raise UserError(f"{key} has an effect only with {needs.options}; give that, too, or leave {key} out")


def check_choices(function: Callable[..., Any], arguments: Mapping[str, Any], prefix: str = "") -> None:
    """Check the arguments of a command that must be one of a few values.

    The command line checks its own arguments; this check is for Python.

    Args:
        function: The command, or the dataclass of a group of its options.
        arguments: Its arguments by name; those that are missing are not checked.
        prefix: Prefix of option names in messages.

    Raises:
        UserError: A value is none of the choices.
    """
    for name, hint in get_type_hints(function).items():
        value, choices = arguments.get(name), _choices(hint)
        if is_dataclass(value) and not isinstance(value, type):
            check_choices(type(value), vars(value), f"{prefix}{name}.")
        for one in value if isinstance(value, list | tuple) else [value]:
            if choices and one is not None and one not in choices:
                *others, last = choices
                raise UserError(f"{prefix}{name} must be {', '.join(others)} or {last}, not {one!r}")


def _choices(hint: Any) -> tuple[Any, ...]:
    """Return the values that a type hint allows besides None, or nothing if it is not made of literals only."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) not in (Union, UnionType, list):
        return ()
    parts = [_choices(part) for part in get_args(hint) if part is not NoneType]
    return tuple(dict.fromkeys(chain.from_iterable(parts))) if all(parts) else ()

"""Ranges and choices of options; they are checked before a command starts to work."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from itertools import chain
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from msgformer.errors import UserError


@dataclass(frozen=True)
class Range:
    """Range of finite numbers.

    Attributes:
        minimum: Lower bound.
        maximum: Upper bound.
        is_open: Exclude the bounds.
    """

    minimum: float
    maximum: float = math.inf
    is_open: bool = False

    def contains(self, number: float) -> bool:
        """Return whether a number is in the range; NaN and infinity never are."""
        if not math.isfinite(number):
            return False
        if self.is_open:
            return self.minimum < number < self.maximum
        return self.minimum <= number <= self.maximum

    def __str__(self) -> str:
        if self.maximum < math.inf:
            return f"lie between {self.minimum:g} and {self.maximum:g}"
        return f"be above {self.minimum:g}" if self.is_open else f"be at least {self.minimum:g}"


AT_LEAST_0, AT_LEAST_1, ABOVE_0 = Range(0), Range(1), Range(0, is_open=True)
FRACTION, PROBABILITY = Range(0, 1, is_open=True), Range(0, 1)

RANGES: dict[str, Range] = {
    "epochs": AT_LEAST_1,
    "batch_size": AT_LEAST_1,
    "batch": AT_LEAST_1,
    "rounds": AT_LEAST_1,
    "threads": AT_LEAST_1,
    "workers": AT_LEAST_0,
    "seed": AT_LEAST_0,
    "seeds": AT_LEAST_1,
    "img_size": AT_LEAST_1,
    "input_size": AT_LEAST_1,
    "val_fraction": FRACTION,
    "top_k": AT_LEAST_1,
    "threshold": PROBABILITY,
    "gradients": AT_LEAST_0,
    "preprocess.crop_pct": ABOVE_0,
    "preprocess.std": ABOVE_0,
    "augment.scale": ABOVE_0,
    "augment.ratio": ABOVE_0,
    "augment.hflip": PROBABILITY,
    "augment.vflip": PROBABILITY,
    "augment.color_jitter": AT_LEAST_0,
    "augment.color_jitter_prob": PROBABILITY,
    "augment.grayscale": PROBABILITY,
    "augment.gaussian_blur": PROBABILITY,
    "augment.erasing": PROBABILITY,
    "augment.erasing_count": AT_LEAST_1,
    "augment.mixup": AT_LEAST_0,
    "augment.cutmix": AT_LEAST_0,
    "augment.mix_prob": PROBABILITY,
    "augment.mix_switch_prob": PROBABILITY,
    "augment.mix_off_epoch": AT_LEAST_0,
    "augment.smoothing": Range(0, 0.999),
    "detect.channels": AT_LEAST_1,
    "detect.fc_channels": AT_LEAST_1,
    "detect.anchor_size": AT_LEAST_1,
    "detect.train_proposals": AT_LEAST_1,
    "detect.test_proposals": AT_LEAST_1,
    "detect.rois_per_image": AT_LEAST_1,
    "detect.score_threshold": PROBABILITY,
    "detect.nms_threshold": PROBABILITY,
    "detect.detections_per_image": AT_LEAST_1,
    "detect.frozen_stages": AT_LEAST_0,
    "detect_images.train_sides": AT_LEAST_1,
    "detect_images.max_side": AT_LEAST_1,
    "detect_images.crop": PROBABILITY,
    "detect_images.crop_resize": AT_LEAST_1,
    "detect_images.crop_sides": AT_LEAST_1,
    "detect_images.hflip": PROBABILITY,
    "detect_images.color_jitter": AT_LEAST_0,
    "detect_images.color_mix": AT_LEAST_0,
    "detect_images.test_side": AT_LEAST_1,
    "detect_images.test_max_side": AT_LEAST_1,
    "segment.channels": AT_LEAST_1,
    "segment.auxiliary_weight": AT_LEAST_0,
    "segment.frozen_stages": AT_LEAST_0,
    "segment_images.color_mix": AT_LEAST_0,
    "segment_images.short_side": AT_LEAST_1,
    "segment_images.long_side": AT_LEAST_1,
    "segment_images.scale": ABOVE_0,
    "segment_images.crop": AT_LEAST_1,
    "segment_images.cat_max_ratio": ABOVE_0,
    "segment_images.hflip": PROBABILITY,
    "scales": ABOVE_0,
    "distill.alpha": PROBABILITY,
    "distill.temperature": ABOVE_0,
    "optim.milestones": AT_LEAST_1,
    "optim.lr": AT_LEAST_0,
    "optim.lr_batch": AT_LEAST_1,
    "optim.weight_decay": AT_LEAST_0,
    "optim.layer_decay": ABOVE_0,
    "optim.betas": Range(0, 0.999999),
    "optim.eps": ABOVE_0,
    "optim.momentum": PROBABILITY,
    "optim.decay_rate": ABOVE_0,
    "optim.power": AT_LEAST_0,
    "optim.warmup_epochs": AT_LEAST_0,
    "optim.warmup_lr": AT_LEAST_0,
    "optim.min_lr": AT_LEAST_0,
    "optim.cooldown_epochs": AT_LEAST_0,
    "trainer.num_nodes": AT_LEAST_1,
    "trainer.accumulate": AT_LEAST_1,
    "trainer.clip_grad": ABOVE_0,
    "trainer.checkpoint_minutes": AT_LEAST_0,
    "trainer.patience": AT_LEAST_1,
}
"""Ranges by option name, including its group; an option has the same range in every command."""

ASCENDING = ("augment.scale", "augment.ratio", "detect_images.crop_sides", "segment_images.scale")
"""Options that are pairs of ascending numbers."""


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
        first, last = values.get(key, (0, 0))
        if first > last:
            raise UserError(f"{key} must ascend, not be {first:g} and {last:g}; swap them")


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

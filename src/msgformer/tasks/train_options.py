"""Checks that the options of a training fit its task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgformer.errors import UserError
from msgformer.tasks import DEFAULT_TASK, all_tasks, get_task

if TYPE_CHECKING:
    from msgformer.runs.train_settings import TrainSettings

DEFAULTS: dict[str, Any] = {
    "img_size": None,
    "val_fraction": 0.2,
    "split_seed": None,
    "split_file": None,
    "split_by": None,
    "folds": None,
    "fold": None,
    "on_bad_image": "stop",
    "teacher": None,
}
"""Defaults of single options; those of a group of options are in its class."""

FORMER_DEFAULTS: dict[str, dict[str, Any]] = {"segment_images": {"reduce_zero_label": True}}
"""Defaults of earlier versions, which the config.yaml of old runs holds for any task."""


def check_train_options(settings: TrainSettings) -> None:
    """Check that no option of another task is given.

    Args:
        settings: Settings of a training.

    Raises:
        UserError: An option is for another task; the message names both.
    """
    if settings.balance == "loss" and settings.task != DEFAULT_TASK:
        raise UserError(f"balance: loss is for --task {DEFAULT_TASK}, not for {settings.task}; give sampler or none")
    for task in all_tasks():
        for name in task.train_options:
            if name in get_task(settings.task).train_options:
                continue
            value = getattr(settings, name)
            default = DEFAULTS[name] if name in DEFAULTS else type(value)()
            for option, former in FORMER_DEFAULTS.get(name, {}).items():
                if getattr(value, option) == former:
                    value = replace(value, **{option: getattr(default, option)})
            if value != default:
                key = name if name in DEFAULTS else f"{name}.{changed_option(value, default)}"
                raise UserError(f"{key} is for --task {task.name}, not for {settings.task}; leave it out")


def check_config(name: str | Path, values: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Check that a configuration is for the given task.

    Args:
        name: Name of the configuration, for the error message.
        values: Options in the configuration.
        given: Options that the user gives too.

    Raises:
        UserError: The configuration is for another task.
    """
    configured = values.get("task", DEFAULT_TASK)
    if given.get("task", configured) != configured:
        raise UserError(f"{name} is for --task {configured}, not for {given['task']}; give another config")


def changed_option(value: Any, default: Any) -> str:
    """Return the name of the first option of a group that differs from its default.

    Args:
        value: Group of options, a dataclass.
        default: The same group with its defaults.
    """
    return next(one.name for one in fields(value) if getattr(value, one.name) != getattr(default, one.name))


def other_tasks_options(task: str) -> set[str]:
    """Return the options of a training that are only for other tasks than the given one."""
    return {name for other in all_tasks() for name in other.train_options}.difference(get_task(task).train_options)

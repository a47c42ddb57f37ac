"""Which settings of a training belong to which task, and where a task's data lies."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgformer.data.locations import FOLDER, parse_location, resolve_data
from msgformer.errors import UserError

if TYPE_CHECKING:
    from msgformer.api.train_settings import TrainSettings

TaskName = Literal["classify", "detect", "segment"]

OWN: dict[str, tuple[str, ...]] = {
    "classify": ("img_size", "val_fraction", "on_bad_image", "balance", "preprocess", "augment", "teacher", "distill"),
    "detect": ("detect", "detect_images"),
    "segment": ("segment", "segment_images"),
}
"""Settings that one task alone has; for the others they must be as they are by default."""

DEFAULTS: dict[str, Any] = {
    "img_size": None,
    "val_fraction": 0.2,
    "on_bad_image": "stop",
    "balance": "none",
    "teacher": None,
}
"""Of the settings that aren't groups, whose own defaults are those of their class."""

FORMER_DEFAULTS: dict[str, dict[str, Any]] = {"segment_images": {"reduce_zero_label": True}}
"""Defaults of earlier versions, which the config.yaml of every run of any task holds."""


def check_task(settings: TrainSettings) -> None:
    """Make sure that no setting is given that the task wouldn't look at.

    Raises:
        UserError: names the setting, and what it is for.
    """
    for task, names in OWN.items():
        for name in names if task != settings.task else ():
            value = getattr(settings, name)
            default = DEFAULTS[name] if name in DEFAULTS else type(value)()
            for option, former in FORMER_DEFAULTS.get(name, {}).items():
                if getattr(value, option) == former:
                    value = replace(value, **{option: getattr(default, option)})
            if value != default:
                key = name if name in DEFAULTS else f"{name}.{changed_option(value, default)}"
                raise UserError(f"{key} is for --task {task}, not for {settings.task}; leave it out")


def changed_option(value: Any, default: Any) -> str:
    """The name of the first member of a group that isn't as by default."""
    return next(one.name for one in fields(value) if getattr(value, one.name) != getattr(default, one.name))


def resolve_task_data(task: str, data: str) -> str:
    """``data`` with absolute paths, its layout checked as far as that takes no time and no library.

    Args:
        task: What it is for.
        data: A folder, or for classification ``SCHEME:LOCATION``.

    Raises:
        UserError: there is nothing, or it isn't laid out as the task needs it.
    """
    if task == "classify":
        return resolve_data(data)
    if parse_location(data).scheme != FOLDER:
        raise UserError(f"data: --task {task} reads folders, not {data}; give a folder")
    resolved = resolve_data(data, layout=False)
    if task == "detect":
        from msgformer.data.detection_sets import find_readers

        find_readers(Path(resolved))
    else:
        from msgformer.data.segmentation_sets import find_segmentation

        find_segmentation(Path(resolved))
    return resolved

"""Tasks: the differences between classification, detection and segmentation, one folder per task.

Other packages get a `Task` from `get_task` and call its methods, instead of comparing the names of tasks.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Literal

from msgformer.errors import UserError
from msgformer.tasks.base import Task

TaskName = Literal["classify", "detect", "segment"]

DEFAULT_TASK: TaskName = "classify"

TASKS: dict[str, str] = {
    "classify": "msgformer.tasks.classification.task:Classification",
    "detect": "msgformer.tasks.detection.task:Detection",
    "segment": "msgformer.tasks.segmentation.task:Segmentation",
}
"""Implementing class of each task, by the task's name."""

__all__ = ["DEFAULT_TASK", "TASKS", "Task", "TaskName", "all_tasks", "get_task"]


@cache
def get_task(name: str) -> Task:
    """Return the task with a name, without importing torch or NumPy.

    Args:
        name: "classify", "detect" or "segment".

    Raises:
        UserError: There is no such task.
    """
    if name not in TASKS:
        raise UserError(f"task must be one of {', '.join(TASKS)}, not {name!r}")
    module, cls = TASKS[name].split(":")
    task: Task = getattr(importlib.import_module(module), cls)()
    return task


def all_tasks() -> list[Task]:
    """Return all tasks."""
    return [get_task(name) for name in TASKS]

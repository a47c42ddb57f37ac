"""The tasks: everything that classification, detection and segmentation do differently, one folder per task.

Nothing outside this package asks which task it is: it gets a `Task` by `get_task` and calls its methods.
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
"""Every task by its name, and the class that implements it."""

__all__ = ["DEFAULT_TASK", "TASKS", "Task", "TaskName", "all_tasks", "get_task"]


@cache
def get_task(name: str) -> Task:
    """Return the task of a name; importing it needs neither torch nor NumPy.

    Args:
        name: "classify", "detect" or "segment".

    Raises:
        UserError: There is no such task.
    """
    if name not in TASKS:
        raise UserError(f"task must be one of {', '.join(TASKS)}, not {name!r}")
    module, cls = TASKS[name].split(":")
    return getattr(importlib.import_module(module), cls)()


def all_tasks() -> list[Task]:
    """Return all tasks."""
    return [get_task(name) for name in TASKS]

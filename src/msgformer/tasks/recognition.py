"""Recognition of the task that a data set is for."""

from __future__ import annotations

from typing import Literal

from msgformer.errors import UserError, shown
from msgformer.tasks import TASKS, Task, all_tasks, get_task

TaskOrAuto = Literal["auto", "classify", "detect", "segment"]


def choose_task(task: TaskOrAuto, data: str) -> Task:
    """Return a task by its name, or the only one that has the layout of a data set.

    Args:
        task: Name of the task, or "auto".
        data: A folder or ``SCHEME:LOCATION`` with absolute paths.

    Raises:
        UserError: There is no such task; or, for "auto", no task or several have the layout.
    """
    if task != "auto":
        return get_task(task)
    layouts = {one.name: layout for one in all_tasks() if (layout := one.recognize(data)) is not None}
    if len(layouts) == 1:
        return get_task(*layouts)
    if layouts:
        found = " or ".join(f"{name} ({shown(layout)})" for name, layout in layouts.items())
        raise UserError(f"data: {shown(data)} may be for --task {found}; pass --task")
    raise UserError(
        f"data: {shown(data)} has no class folders, table of labels, annotations or label maps; pass --task"
        f" {' or '.join(TASKS)} to see what its layout lacks"
    )

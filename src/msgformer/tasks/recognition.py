"""Recognition of the task that a data set is for."""

from __future__ import annotations

from typing import Literal

from msgformer.errors import UserError, shown
from msgformer.tasks import TASKS, Task, all_tasks, get_task

TaskOrAuto = Literal["auto", "classify", "detect", "segment"]


def choose_task(task: TaskOrAuto, data: str) -> tuple[Task, str | None]:
    """Return a task by its name, or the only one that has the layout of a data set; and the name of the layout.

    Args:
        task: Name of the task, or "auto".
        data: A folder or ``SCHEME:LOCATION`` with absolute paths.

    Returns:
        The task, and the name of the data's layout; None if it isn't one of the task.

    Raises:
        UserError: There is no such task; or, for "auto", no task or several have the layout.
    """
    if task != "auto":
        chosen = get_task(task)
        return chosen, chosen.recognize(data)
    layouts = {one.name: layout for one in all_tasks() if (layout := one.recognize(data)) is not None}
    if len(layouts) == 1:
        ((name, layout),) = layouts.items()
        return get_task(name), layout
    if layouts:
        found = " or ".join(f"{name} ({shown(layout)})" for name, layout in layouts.items())
        raise UserError(f"data: {shown(data)} may be for --task {found}; pass --task")
    raise UserError(
        f"data: {shown(data)} has no class folders, table of labels, annotations or label maps; pass --task"
        f" {' or '.join(TASKS)} to see what its layout lacks"
    )

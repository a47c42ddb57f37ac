"""``msgformer check-data``: everything that is wrong with a data set, before it is trained on."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msgformer.config.dense_data_options import ReduceZeroLabel
from msgformer.data.files.locations import resolve_data
from msgformer.data.problems import SEVERITIES, Problem, has_errors, problem_rows
from msgformer.tasks import DEFAULT_TASK, TaskName, get_task
from msgformer.utils.result import Result, text_table

ERRORS = 2
"""Exit status where there are errors."""

MOST_CLASSES = 50
"""Classes whose numbers a table shows one by one; --json has all."""


@dataclass(frozen=True)
class CheckDataResult(Result):
    """What a data set holds, and what is wrong with it.

    Attributes:
        data: What was looked at.
        task: What it is for.
        images: How many images there are, by subset; "all" where there are no subsets.
        classes: How many images, or in detection objects, each class has, by subset.
        problems: Everything found, the worst first: errors stop a training, warnings spoil it, notes are notes.
    """

    data: str
    task: str
    images: dict[str, int]
    classes: dict[str, dict[str, int]]
    problems: list[Problem]

    def exit_status(self) -> int:
        """2 if there are errors; warnings and notes don't count."""
        return ERRORS if has_errors(self.problems) else 0

    def table(self) -> str:
        """Numbers by class and subset, problems, and how many those are."""
        severities = Counter(problem.severity for problem in self.problems)
        counted = [f"{severities[severity]} {severity}(s)" for severity in SEVERITIES if severities[severity]]
        problems = text_table(("SEVERITY", "PROBLEM", "WHERE", ""), problem_rows(self.problems))
        summary = f"{self.data}: {', '.join(counted) or 'nothing wrong'}"
        return "\n\n".join([self._counts(), *([problems] if self.problems else []), summary])

    def _counts(self) -> str:
        subsets = list(self.images)
        names = list(dict.fromkeys(name for counts in self.classes.values() for name in counts))
        rows: list[tuple[object, ...]] = [("images", *self.images.values())]
        if len(names) > MOST_CLASSES:
            rows.append(("classes", *(len(self.classes[subset]) for subset in subsets)))
            for title, of in (("fewest in a class", min), ("most in a class", max)):
                rows.append((title, *(of(self.classes[subset].values()) for subset in subsets)))
        else:
            rows += [(name, *(self.classes.get(subset, {}).get(name, 0) for subset in subsets)) for name in names]
        return text_table(("", *subsets), rows)


def check_data(
    data: str | Path,
    task: TaskName = DEFAULT_TASK,
    reduce_zero_label: ReduceZeroLabel = "auto",
) -> CheckDataResult:
    """Find everything that is wrong with a data set before it is trained on.

    Every image is read whole. The exit status is 2 if there are errors, which would stop a training, and 0 otherwise.

    Args:
        data: A folder or SCHEME:LOCATION, as 'msgformer train' takes it.
        task: What it is for: images with one class each, with annotated objects, or with one class per pixel.
        reduce_zero_label: In segmentation, labels count from 1 and 0 means no class. "auto": true for ADE20K itself and
            where the folder's labels.json says so; elsewhere labels are used as they are.

    Returns:
        Numbers of images and all problems.

    Raises:
        UserError: There is nothing, or nothing that could be a data set for the task.
    """
    resolved = resolve_data(data, layout=False)

    chosen = get_task(task)
    given = {"reduce_zero_label": None if reduce_zero_label == "auto" else reduce_zero_label}
    survey = chosen.survey(resolved, _progress, chosen.check_options("check_data", given))
    return CheckDataResult(resolved, task, survey.images, survey.classes, survey.problems)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], object]]:
    """A bar on standard error, in a terminal, of what is called ``total`` times."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("reading images", total=total)
        yield lambda: bar.advance(task)

"""``msgformer check-data``: find the problems of a data set before training."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from msgformer.config.dense_data_options import LabelOptions
from msgformer.config.parser import configured_by
from msgformer.config.renamed_arguments import renamed_arguments
from msgformer.data.files.locations import DataLike, resolve_data
from msgformer.data.problems import SEVERITIES, Problem, has_errors, problem_rows
from msgformer.tasks import DEFAULT_TASK, TaskName, get_task
from msgformer.utils.result import Result, text_table

ERRORS = 2
"""Exit status if there are errors."""

MAX_CLASSES = 50
"""Up to this many classes the table lists each of them; --json always lists all."""


@dataclass(frozen=True)
class CheckDataResult(Result):
    """Contents and problems of a data set.

    Attributes:
        data: The data set.
        task: The task it was checked for.
        images: Number of images per subset; the key is "all" if there are no subsets.
        classes: Number of images (in detection, objects; in segmentation, pixels) per class, per subset.
        problems: All problems, most severe first. Errors stop a training; warnings make its result worse.
    """

    data: str
    task: str
    images: dict[str, int]
    classes: dict[str, dict[str, int]]
    problems: list[Problem]

    def exit_status(self) -> int:
        """Return 2 if there are errors; ignore warnings and notes."""
        return ERRORS if has_errors(self.problems) else 0

    def table(self) -> str:
        """Return the counts per class and subset, the problems, and a summary."""
        severities = Counter(problem.severity for problem in self.problems)
        counted = [f"{severities[severity]} {severity}(s)" for severity in SEVERITIES if severities[severity]]
        problems = text_table(("SEVERITY", "PROBLEM", "WHERE", ""), problem_rows(self.problems))
        summary = f"{self.data}: {', '.join(counted) or 'nothing wrong'}"
        return "\n\n".join([self._counts(), *([problems] if self.problems else []), summary])

    def _counts(self) -> str:
        subsets = list(self.images)
        names = list(dict.fromkeys(name for counts in self.classes.values() for name in counts))
        rows: list[tuple[object, ...]] = [("images", *self.images.values())]
        if len(names) > MAX_CLASSES:
            rows.append(("classes", *(len(self.classes[subset]) for subset in subsets)))
            for title, of in (("fewest in a class", min), ("most in a class", max)):
                rows.append((title, *(of(self.classes[subset].values()) for subset in subsets)))
        else:
            rows += [(name, *(self.classes.get(subset, {}).get(name, 0) for subset in subsets)) for name in names]
        return text_table(("", *subsets), rows)


@renamed_arguments(reduce_zero_label="segment_images.reduce_zero_label")
@configured_by(lambda _: None)
def check_data(
    data: DataLike,
    task: TaskName = DEFAULT_TASK,
    segment_images: LabelOptions = LabelOptions(),
) -> CheckDataResult:
    """Find the problems of a data set before training.

    Every image is decoded completely. The exit status is 2 if there are errors, which would stop a training, and 0
    otherwise.

    Args:
        data: Folder or SCHEME:LOCATION, as for 'msgformer train'.
        task: "classify" (one class per image), "detect" (annotated objects) or "segment" (one class per pixel).
        segment_images: For segmentation, the meaning of the labels, as for 'msgformer train'.

    Returns:
        Numbers of images, and all problems.

    Raises:
        UserError: The data does not exist, or is not a data set for the task.
    """
    resolved = resolve_data(data, layout=False)

    chosen = get_task(task)
    given = {"segment_images": None if segment_images == LabelOptions() else segment_images}
    survey = chosen.survey(resolved, _progress, chosen.check_options("check_data", given))
    return CheckDataResult(resolved, task, survey.images, survey.classes, survey.problems)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], object]]:
    """Show a progress bar on standard error if that is a terminal; yield a function to call ``total`` times."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("reading images", total=total)
        yield lambda: bar.advance(task)

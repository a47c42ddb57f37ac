"""``msgformer check-data``: find the problems of a data set before training."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from msgformer.config.dense_data_options import LabelOptions
from msgformer.config.parser import configured_by
from msgformer.config.renamed_arguments import renamed_arguments
from msgformer.data.files.locations import DataLike, resolve_data
from msgformer.data.problems import MAX_EXAMPLES, SEVERITIES, Problem, count_kinds, has_errors, problem_lines
from msgformer.errors import shown
from msgformer.tasks.recognition import TaskOrAuto, choose_task
from msgformer.tasks.repaired_copy import RepairedCopy, check_copy, write_copy
from msgformer.utils.result import Result, text_table

ERRORS = 2
"""Exit status if there are errors."""

MAX_CLASSES = 20
"""Up to this many classes the table lists each of them; --verbose and --json always list all."""

MAX_VERBOSE_EXAMPLES = 20
"""Number of examples per kind of problem with --verbose."""


@dataclass(frozen=True)
class CheckDataResult(Result):
    """Contents and problems of a data set.

    Attributes:
        data: The data set.
        task: The task it was checked for.
        images: Number of images per subset; the key is "all" if there are no subsets.
        classes: Number of images (in detection, objects; in segmentation, pixels) per class, per subset.
        problems: All problems, most severe first. Errors stop a training; warnings make its result worse.
        layout: Name of its layout; None if it isn't recognized.
        fixed: The repaired copy, if one was asked for.
        verbose: Whether `table` lists all classes, the notes, and more examples.
    """

    data: str
    task: str
    images: dict[str, int]
    classes: dict[str, dict[str, int]]
    problems: list[Problem]
    layout: str | None = None
    fixed: RepairedCopy | None = None
    verbose: bool = False

    @override
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, without ``verbose``, which only concerns `table`."""
        return {key: value for key, value in super().to_dict().items() if key != "verbose"}

    @override
    def exit_status(self) -> int:
        """Return 2 if there are errors and no repaired copy; ignore warnings and notes."""
        return ERRORS if has_errors(self.problems) and self.fixed is None else 0

    @override
    def table(self) -> str:
        """Return the counts per class and subset, a summary of the problems by kind, and their number."""
        severities = Counter(problem.severity for problem in self.problems)
        counted = [f"{severities[severity]} {severity}(s)" for severity in SEVERITIES if severities[severity]]
        checked = f"checked for --task {self.task}" + (f": {shown(self.layout)}" if self.layout else "")
        summary = f"{shown(self.data)}: {', '.join(counted) or 'nothing wrong'}"
        parts = [checked, self._counts(), "\n".join(self._problem_lines()), summary, "\n".join(self._fixed_lines())]
        return "\n\n".join(part for part in parts if part)

    def _problem_lines(self) -> Iterator[str]:
        root = self.data.rstrip("/")
        if self.verbose:
            yield from problem_lines(self.problems, root, MAX_VERBOSE_EXAMPLES)
            return
        notes = [problem for problem in self.problems if problem.severity == "note"]
        yield from problem_lines([one for one in self.problems if one.severity != "note"], root, MAX_EXAMPLES)
        if notes:
            yield f"notes: {count_kinds(notes)}; --verbose shows them"

    def _fixed_lines(self) -> Iterator[str]:
        if self.fixed is None:
            return
        subsets = self.fixed.images.items()
        counts = ", ".join(f"{count}" if subset == "all" else f"{count} {subset}" for subset, count in subsets)
        yield f"{shown(self.fixed.output)}: repaired copy without errors ({counts} images)"
        yield from (f"  {change}" for change in self.fixed.changes)
        if files := self.fixed.left_out:
            root = f"{self.data.rstrip('/')}/"
            listed = files[: MAX_VERBOSE_EXAMPLES if self.verbose else MAX_EXAMPLES]
            more = [f"... and {len(files) - len(listed)} more"] if len(listed) < len(files) else []
            names = ", ".join([*(shown(path.removeprefix(root)) for path in listed), *more])
            yield f"  {len(files)} file(s) left out: {names}"

    def _counts(self) -> str:
        subsets = list(self.images)
        names = list(dict.fromkeys(name for counts in self.classes.values() for name in counts))
        rows: list[tuple[object, ...]] = [("images", *self.images.values())]
        if len(names) > MAX_CLASSES and not self.verbose:
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
    task: TaskOrAuto = "auto",
    segment_images: LabelOptions = LabelOptions(),
    verbose: bool = False,
    fix: str | Path | None = None,
) -> CheckDataResult:
    """Find the problems of a data set before training.

    Every image is decoded completely. The exit status is 2 if there are errors, which would stop a training, and 0
    otherwise, or if a repaired copy without errors was written.

    Args:
        data: Folder or SCHEME:LOCATION, as for 'msgformer train'.
        task: "classify" (one class per image), "detect" (annotated objects) or "segment" (one class per pixel). "auto"
            recognizes it by the folders and annotation files.
        segment_images: For segmentation, the meaning of the labels, as for 'msgformer train'.
        verbose: List all classes, the notes, and up to 20 examples of each kind of problem. JSON always holds all.
        fix: New folder for a repaired copy: without unreadable files, with ids numbered anew and boxes and masks inside
            their images in COCO's format, or with label maps of class indices in ADE20K's layout. Images are
            hard-linked where possible. Problems that need a decision are refused.

    Returns:
        Numbers of images, and all problems.

    Raises:
        UserError: The data does not exist, or is not a data set for the task; or no repaired copy can be written.
    """
    resolved = resolve_data(data, layout=False)
    output = None if fix is None else check_copy(Path(fix).expanduser().absolute(), resolved)
    chosen, layout = choose_task(task, resolved)
    given = {"segment_images": None if segment_images == LabelOptions() else segment_images}
    options = chosen.check_options("check_data", given)
    survey = chosen.survey(resolved, _progress, options)
    fixed = None if output is None else write_copy(chosen, resolved, survey, output, _progress, options)
    return CheckDataResult(
        resolved, chosen.name, survey.images, survey.classes, survey.problems, layout, fixed, verbose
    )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], object]]:
    """Show a progress bar on standard error if that is a terminal; yield a function to call ``total`` times."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("reading images", total=total)
        yield lambda: bar.advance(task)

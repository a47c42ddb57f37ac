"""What a check of a data set found: one record a problem, whatever the task, and how they are listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from msgformer.errors import UserError, shown

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""The worst first. An error stops a training, a warning will probably spoil it, a note is only worth knowing."""

MAX_ROWS = 20
"""Problems of one kind that a table lists, before it counts the rest."""


@dataclass(frozen=True)
class Problem:
    """One thing that isn't as it should be.

    Attributes:
        severity: "error", "warning" or "note".
        kind: What sort of problem, in few words; problems of a kind are listed together.
        path: The file, folder or shard that it is about.
        message: What is wrong and what to do, in one line without the path.
    """

    severity: Severity
    kind: str
    path: str
    message: str


def sort_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Problems with the worst first, those of a kind together, and by path within a kind."""
    return sorted(problems, key=lambda one: (SEVERITIES.index(one.severity), one.kind, one.path))


def has_errors(problems: Iterable[Problem]) -> bool:
    """Whether a training would be stopped by one of them."""
    return any(problem.severity == "error" for problem in problems)


def raise_errors(problems: Iterable[Problem]) -> None:
    """Make sure that there is no error among some problems.

    Raises:
        UserError: names the first, and how many others there are.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more; 'msgformer check-data' lists them)" if len(errors) > 1 else ""
        raise UserError(f"{shown(errors[0].path)}: {errors[0].message}{more}")


def problem_rows(problems: Sequence[Problem], max_rows: int = MAX_ROWS) -> list[tuple[str, str, str, str]]:
    """Rows of a table: severity, kind, path and message; of a kind with many problems the first, and a count.

    Args:
        problems: In the order of :func:`ordered`.
        max_rows: Maximum number of rows per kind.
    """
    totals = Counter(problem.kind for problem in problems)
    shown: Counter[str] = Counter()
    rows: list[tuple[str, str, str, str]] = []
    for problem in problems:
        shown[problem.kind] += 1
        if shown[problem.kind] <= max_rows:
            rows.append((problem.severity, problem.kind, problem.path, problem.message))
        elif shown[problem.kind] == totals[problem.kind]:
            rest = totals[problem.kind] - max_rows
            rows.append((problem.severity, problem.kind, f"... and {rest} more", "--json lists them all"))
    return rows

"""Problems found by the checks of a dataset, with sorting and tabulation; limits of the checks before a training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from msgformer.errors import UserError, shown

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Severities, worst first. Errors prevent training, warnings probably harm the result, notes are informative."""

MAX_ROWS = 20
"""Maximum number of table rows per severity and kind of problem; the rest is only counted."""

FULL_CHECK_LIMIT = 5_000
"""Maximum number of images that are fully decoded before a training; of larger datasets only the headers are read."""

HEADER_CHECK_LIMIT = 100_000
"""Maximum number of images whose headers are read before a training; reading more over a network takes too long."""


@dataclass(frozen=True)
class Problem:
    """One problem of a dataset.

    Attributes:
        severity: "error", "warning" or "note".
        kind: Kind of problem in a few words; problems of one kind are listed together.
        path: The affected file, folder or shard.
        message: The problem and its remedy, in one line without the path.
    """

    severity: Severity
    kind: str
    path: str
    message: str


def sort_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems by severity, worst first, then by kind and path."""
    return sorted(problems, key=lambda one: (SEVERITIES.index(one.severity), one.kind, one.path))


def has_errors(problems: Iterable[Problem]) -> bool:
    """Return whether any problem is an error, which prevents training."""
    return any(problem.severity == "error" for problem in problems)


def raise_errors(problems: Iterable[Problem]) -> None:
    """Raise an exception if any problem is an error.

    Raises:
        UserError: There is an error; the message holds the first one and the number of others.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more; 'msgformer check-data' lists them)" if len(errors) > 1 else ""
        raise UserError(f"{shown(errors[0].path)}: {errors[0].message}{more}")


def problem_rows(problems: Sequence[Problem], max_rows: int = MAX_ROWS) -> list[tuple[str, str, str, str]]:
    """Return table rows with severity, kind, path and message; a long group ends with a count of the rest.

    Args:
        problems: Problems in the order of :func:`sort_problems`.
        max_rows: Maximum number of rows per severity and kind.
    """
    rows: list[tuple[str, str, str, str]] = []
    for (severity, kind), group in groupby(problems, lambda one: (one.severity, one.kind)):
        members = list(group)
        rows += [(severity, kind, one.path, one.message) for one in members[:max_rows]]
        if (rest := len(members) - max_rows) > 0:
            rows.append((severity, kind, f"... and {rest} more", "--json lists them all"))
    return rows

"""Problems found by the checks of a dataset, with sorting and summaries; limits of the checks before a training."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from msgformer.errors import UserError, shown

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Severities, worst first. Errors prevent training, warnings probably harm the result, notes are informative."""

MAX_EXAMPLES = 3
"""Number of examples per severity and kind of problem in a summary; the rest is only counted."""

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
        UserError: There is an error; the message holds the first one, and the number of others by kind.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    if not errors:
        return
    rest = errors[1:]
    kinds = {problem.kind for problem in errors}
    what = f": {count_kinds(rest)}" if len(kinds) > 1 else ""
    more = f" ({len(rest)} more{what}; 'msgformer check-data' lists them)" if rest else ""
    raise UserError(f"{shown(errors[0].path)}: {_without_path(errors[0])}{more}")


def count_kinds(problems: Iterable[Problem]) -> str:
    """Return the number of problems of each kind, most frequent first, such as "3 x box, 1 x mask"."""
    counts = Counter(problem.kind for problem in problems).most_common()
    return ", ".join(f"{count} x {kind}" for kind, count in counts)


def problem_lines(problems: Sequence[Problem], root: str = "", max_examples: int = MAX_EXAMPLES) -> Iterator[str]:
    """Yield lines of a summary: for each severity and kind a line with its count, and examples below it.

    Args:
        problems: Problems in the order of `sort_problems`.
        root: The data folder, which is left out of paths.
        max_examples: Maximum number of examples per severity and kind.
    """
    for (severity, kind), group in groupby(problems, lambda one: (one.severity, one.kind)):
        yield from _group_lines(f"{severity}: {kind}", list(group), root, max_examples)


def _group_lines(title: str, problems: list[Problem], root: str, max_examples: int) -> Iterator[str]:
    """Yield the lines of one kind of problems; what all share, the path, the message or its end, is written once."""
    examples = _pick_examples(problems, max_examples)
    rest = f"... and {len(problems) - len(examples)} more" if len(examples) < len(problems) else ""
    paths = {one.path for one in problems}
    messages = {_without_path(one) for one in problems}
    remedies = {message.rpartition("; ")[2] if "; " in message else "" for message in messages}
    count = f" ({len(problems)})" if len(problems) > 1 else ""
    if len(messages) == 1 < len(paths):
        yield f"{title}{count}: {_relative_text(messages.pop(), root)}"
        names = [_relative(one.path, root) for one in examples]
        yield f"  {', '.join([*names, rest] if rest else names)}"
        return
    remedy = f"; {remedies.pop()}" if len(remedies) == 1 < len(problems) else ""
    is_one_file = len(paths) == 1 < len(problems)
    place = f" in {_relative(problems[0].path, root)}" if is_one_file else ""
    yield f"{title}{count}{place}{_relative_text(remedy, root).removesuffix('; ')}"
    for one in examples:
        message = _relative_text(_without_path(one).removesuffix(remedy), root)
        yield f"  {message}" if is_one_file else f"  {_relative(one.path, root)}: {message}"
    if rest:
        yield f"  {rest}"


def _pick_examples(problems: list[Problem], count: int) -> list[Problem]:
    """Return the first problems, but those first whose messages differ in more than numbers and quoted words."""
    different = {re.sub(r"\d+|'[^']*'", "", one.message): one for one in reversed(problems)}
    chosen = {id(one) for one in list(different.values())[::-1][:count]}
    for one in problems:
        if len(chosen) >= count:
            break
        chosen.add(id(one))
    return [one for one in problems if id(one) in chosen]


def _without_path(problem: Problem) -> str:
    """Return the message of a problem without its path, which is shown before it."""
    name = shown(problem.path)
    message = problem.message.removeprefix(f"{name}: ").removeprefix(f"{name} ")
    return message.replace(f" {name} ", " ").removesuffix(f" {name}")


def _relative(path: str, root: str) -> str:
    return "." if path == root else _relative_text(path, root)


def _relative_text(text: str, root: str) -> str:
    """Return a text with paths relative to the data folder."""
    return shown(text.replace(f"{root}/", "") if root else text)

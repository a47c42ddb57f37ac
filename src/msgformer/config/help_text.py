"""Help of a command, from the docstring of its function."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable
from typing import Any

import jsonargparse

EXAMPLES = "Examples:"


class HelpFormatter(jsonargparse.DefaultHelpFormatter):
    """Show each option with its default, without jsonargparse's notes on types, and keep paragraphs apart."""

    # The formatters of argparse override the same private methods; it has no public ones for this.

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(EXAMPLES):
            return text
        return "\n\n".join(super(HelpFormatter, self)._fill_text(part, width, indent) for part in text.split("\n\n"))

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if not action.option_strings or action.default in (None, argparse.SUPPRESS) or action.nargs == 0:
            return text
        return f"{text} (default: %(default)s)"


def summary(function: Callable[..., Any]) -> str:
    """Return a docstring's text before its sections."""
    return re.split(r"\n\n(?=\w+:\n)", inspect.getdoc(function) or "")[0]


def examples(function: Callable[..., Any]) -> str | None:
    """Return the section of a docstring that shows command lines; None if there is none."""
    found = re.search(rf"^{EXAMPLES}\n(?:    .+\n?)+", inspect.getdoc(function) or "", flags=re.MULTILINE)
    return found[0].rstrip() if found else None

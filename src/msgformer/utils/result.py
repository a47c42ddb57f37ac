"""Results of commands: data for Python, and text for the command line to print."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from msgformer.errors import shown


@dataclasses.dataclass(frozen=True)
class Result:
    """Base class of the results of commands: a frozen dataclass whose fields are printed as JSON.

    A subclass adds fields of plain Python types, paths, or nested dataclasses, and may override `table`, which
    prints two columns with names and values.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, with nested dataclasses as dictionaries."""
        return dataclasses.asdict(self)

    def table(self) -> str:
        """Return the result as text for people."""
        return text_table(("", ""), self.to_dict().items())

    def exit_status(self) -> int:
        """Return the exit status of the command: 0, unless the result reports a problem."""
        return 0

    def render(self, *, as_json: bool = False) -> str:
        """Return the text that the command line prints: `table`, or the fields as JSON."""
        return json.dumps(self.to_dict(), indent=2, default=str) if as_json else self.table()


def text_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Align columns for a terminal, where a Chinese or Japanese character is as wide as two Latin letters.

    A table of rich would take forty times as long for a long list of predictions, and slow down every command's start.

    Args:
        header: One title per column; a header of empty strings is not printed.
        rows: Cells, one per column in each row; control characters in them are escaped.
    """
    lines = [list(header)] if any(header) else []
    lines += [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(_display_width, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(_pad, line, widths)).rstrip() for line in lines)


def _pad(text: str, width: int) -> str:
    """Fill a text with spaces to the given width in a terminal."""
    return text + " " * (width - _display_width(text))


def _display_width(text: str) -> int:
    """Return the columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # imported late: most tables need no library

    return cell_len(text)

"""What a verb returns: data for Python, and text for the command line to print."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from msgformer.errors import shown


@dataclasses.dataclass(frozen=True)
class Result:
    """Base of every verb's result: a frozen dataclass whose fields are its JSON.

    A subclass adds fields of plain Python types, paths, or nested dataclasses, and overrides :meth:`table`
    where two columns of names and values aren't what a person wants to read.
    """

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, nested dataclasses as dictionaries."""
        return dataclasses.asdict(self)

    def table(self) -> str:
        """The result as a person reads it."""
        return text_table(("", ""), self.to_dict().items())

    def exit_status(self) -> int:
        """What the command line exits with: 0, unless the result is that something is wrong."""
        return 0

    def render(self, *, as_json: bool = False) -> str:
        """The text that the command line prints: :meth:`table`, or the fields as JSON."""
        return json.dumps(self.to_dict(), indent=2, default=str) if as_json else self.table()


def text_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns aligned for a terminal; a header of empty strings is left out.

    Args:
        header: One title a column.
        rows: Cells, as many a row as the header has; control characters in them are escaped.
    """
    lines = [list(header)] if any(header) else []
    lines += [[shown(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )

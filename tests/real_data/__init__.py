"""Small data sets as tools and users leave them, and whether they must be accepted or refused."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """A data set of a few drawn images.

    Attributes:
        name: What is special about it.
        write: Writes the data set to a folder.
        refused: Pattern of the problem for which both check-data and train refuse it; None if both accept it.
        path: Path of the data below the folder, for data that is not the folder itself.
        settings: Options of `msgformer.train` that the data needs.
        classes: Names of the classes of the run.
        images: Number of images per subset; None for the usual ones.
    """

    name: str
    write: Callable[[Path], Any]
    refused: str | None = None
    path: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ("disk", "square")
    images: dict[str, int] | None = None

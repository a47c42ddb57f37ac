"""What all evaluations have in common: how images are looked at, and what is known afterwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgformer.data.options import OnBadImage
from msgformer.errors import UserError, shown
from msgformer.result import Result

if TYPE_CHECKING:
    from msgformer.data.checking import Skipped
    from msgformer.insight.page import Section, Tile
    from msgformer.tasks.opened_model import OpenedModel

METRICS, CLASSES, COMPARISON = "metrics.json", "per_class.csv", "comparison.csv"
"""Files that an evaluation writes."""


@dataclass(frozen=True)
class EvaluationOptions:
    """How images are looked at.

    Attributes:
        on_bad_image: At images that can't be read, "stop", or "skip" and list them.
        looks: Options that not every task has, such as ``flip``, by name.
        with_examples: Whether examples are collected for a report.
    """

    on_bad_image: OnBadImage = "stop"
    looks: Mapping[str, Any] = field(default_factory=dict)
    with_examples: bool = False


@dataclass(frozen=True)
class ScoresResult(Result, ABC):
    """Base of every task's scores.

    Attributes:
        checkpoint: Weights that were scored.
        data: Images they were scored on.
        images: Number of images.
        skipped: Images that can't be read and were left out.
    """

    @abstractmethod
    def metric(self, name: str) -> float | None:
        """Return one score by its name, in per cent; None where nothing was there to score."""

    @abstractmethod
    def comparison(self) -> dict[str, object]:
        """Return the row of a comparison by its columns, as CSV holds it."""

    @abstractmethod
    def comparison_cells(self) -> dict[str, str]:
        """Return the row of a comparison by its titles, as a person reads it."""


class Evaluation(ABC):
    """Scores, and what they are made of.

    Attributes:
        result: The scores.
        num_parameters: Parameters of the model that was scored; None for an exported file.
    """

    result: Any
    num_parameters: int | None

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write ``metrics.json``, ``per_class.csv`` and the predictions to a folder, which is made if need be."""

    @abstractmethod
    def tiles(self) -> list[Tile]:
        """Return the numbers that count most, for a report."""

    @abstractmethod
    def sections(self) -> list[Section]:
        """Return what a report says about the scores."""


def require_data(model: OpenedModel, data: str | None) -> None:
    """Check that there are images to score on.

    Args:
        model: The model.
        data: The images that the user gives; None for those that the model's run held out.

    Raises:
        UserError: There are none.
    """
    if data is None and (model.run is None or not model.data):
        raise UserError(f"data: {model.name} doesn't lie in the folder of its run; give --data FOLDER")


def skipped_lines(skipped: Sequence[Skipped]) -> str:
    """Return a line for each image that was left out."""
    return "".join(f"\nleft out: {shown(one.reason)}" for one in skipped)

"""Common base of the evaluations of all tasks: options, scores and files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgformer.config.data_options import EvaluationSplit, OnBadImage
from msgformer.data.loading.split import Subset
from msgformer.errors import UserError, shown
from msgformer.utils.result import Result

if TYPE_CHECKING:
    from msgformer.data.classification.skipped import Skipped
    from msgformer.tasks.opened_model import OpenedModel
    from msgformer.visual.page import Section, Tile

METRICS, CLASSES, COMPARISON = "metrics.json", "per_class.csv", "comparison.csv"
"""Files that an evaluation writes."""

PARTS: dict[Subset, str] = {"train": "training", "val": "held-out", "test": "test"}
"""Names of the parts of a run's data."""

MAX_ROWS = 20
"""Largest number of classes in a printed table of scores; of more classes, those with the lowest scores are listed."""

MAX_UNFOLDED_ROWS = 30
"""Largest number of classes that a report lists unfolded; the rest is folded."""


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of an evaluation.

    Attributes:
        on_bad_image: "stop" at an image that can't be read, or "skip" and list it.
        task_options: Test-time options that not every task has, such as ``flip``, by name.
        with_examples: Whether to collect examples for a report.
        split: Subset to score on; by default that for validation.
    """

    on_bad_image: OnBadImage = "stop"
    task_options: Mapping[str, Any] = field(default_factory=dict)
    with_examples: bool = False
    split: EvaluationSplit | None = None


@dataclass(frozen=True)
class ScoresResult(Result, ABC):
    """Common base of the scores of all tasks."""

    @abstractmethod
    def metric(self, name: str) -> float | None:
        """Return one score by its name, in percent; None if there was nothing to score."""

    @abstractmethod
    def comparison(self) -> dict[str, object]:
        """Return the cells of this model's row in ``comparison.csv``, by column."""

    @abstractmethod
    def comparison_cells(self) -> dict[str, str]:
        """Return the cells of this model's row in a printed comparison, by column title."""


class Evaluation(ABC):
    """Scores, and the predictions behind them.

    Attributes:
        result: The scores.
        num_parameters: Parameters of the evaluated model; None for an exported file.
    """

    result: Any
    num_parameters: int | None

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write ``metrics.json``, ``per_class.csv`` and the predictions to a folder, which is created if necessary."""

    @abstractmethod
    def tiles(self) -> list[Tile]:
        """Return the most important scores, for a report."""

    @abstractmethod
    def sections(self) -> list[Section]:
        """Return the sections of a report about the scores."""


def require_data(model: OpenedModel, data: str | None) -> None:
    """Check that there are images to evaluate on.

    Args:
        model: The model.
        data: The images that the user gives; None for those that the model's run held out.

    Raises:
        UserError: There are none.
    """
    if data is None and (model.run is None or not model.data):
        raise UserError(f"data: {model.name} isn't in the folder of its run; give --data FOLDER")


def skipped_lines(skipped: Sequence[Skipped]) -> str:
    """Return one line per image that was left out."""
    return "".join(f"\nleft out: {shown(one.reason)}" for one in skipped)


def format_image_count(images: int, skipped: Sequence[Skipped]) -> str:
    """Format the number of images and, if there are any, of skipped ones.

    Args:
        images: Number of evaluated images.
        skipped: Images that were left out.
    """
    return f"{images} ({len(skipped)} left out)" if skipped else f"{images}"


def percent(value: float | None, digits: int = 2) -> str:
    """Format a value in percent; None is a dash.

    Args:
        value: The value in percent.
        digits: Number of decimals.
    """
    return "-" if value is None else f"{value:.{digits}f} %"


def weakest_note(count: int) -> str:
    """Return the note below a table that lists only the weakest of ``count`` classes."""
    return f"\n(the weakest of {count} classes; --output FOLDER writes them all)"

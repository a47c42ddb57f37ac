"""Result of an ablation study: its rows, and the files that it is written to."""

from __future__ import annotations

import csv
import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from msgformer.utils.result import Result, text_table


@dataclass(frozen=True)
class StudiedRow:
    """Scores of one row of an ablation table.

    Attributes:
        name: Name of the row.
        recipe: Recipe of the row at the published model size.
        parameters: Number of parameters of the trained model, without its classifier.
        scores: Top-1 accuracy after the last epoch of each run, in percent.
        mean: Mean of the scores.
        spread: Standard deviation of the scores; None for a single run.
        published: Published top-1 accuracy on ImageNet-1k, in percent.
    """

    name: str
    recipe: str
    parameters: int
    scores: list[float]
    mean: float
    spread: float | None
    published: float | None

    @classmethod
    def of(cls, name: str, recipe: str, parameters: int, scores: list[float], published: float | None) -> StudiedRow:
        """Create a row from the scores of its runs.

        Args:
            name: Name of the row.
            recipe: Recipe of the row.
            parameters: Number of parameters of the model.
            scores: Top-1 accuracy of each run, in percent.
            published: Published top-1 accuracy, in percent.
        """
        spread = statistics.stdev(scores) if len(scores) > 1 else None
        return cls(name, recipe, parameters, scores, statistics.fmean(scores), spread, published)

    def cells(self) -> tuple[str, str, str, str]:
        """Return the row as text."""
        spread = "" if self.spread is None else f" ± {self.spread:.2f}"
        published = "-" if self.published is None else f"{self.published:.1f}"
        return self.name, f"{self.parameters / 1e6:.3f} M", f"{self.mean:.2f}{spread}", published


@dataclass(frozen=True)
class Study(Result):
    """Result of `msgformer.study`.

    Attributes:
        name: Name of the table.
        title: Title of the table.
        data: Training data.
        small: Whether small models were trained instead of the published ones.
        epochs: Epochs per run.
        seeds: Runs per row.
        rows: Rows in the published order.
        output: Folder of the runs, the table and its plot.
    """

    name: str
    title: str
    data: str
    small: bool
    epochs: int
    seeds: int
    rows: list[StudiedRow]
    output: Path

    def table(self) -> str:
        """Return the rows beside the published scores."""
        header = ("ROW", "PARAMETERS", "TOP-1 %", "PUBLISHED %, IMAGENET")
        size = "small models" if self.small else "models of the published size"
        return (
            f"{self.title}\n{size} on {self.data}, {self.epochs} epochs, {self.seeds} seeds;"
            " mean and standard deviation after the last epoch\n"
            f"{text_table(header, [row.cells() for row in self.rows])}\n"
            f"runs, table and plot: {self.output}"
        )

    def write(self) -> None:
        """Write ``table.txt``, ``table.csv``, ``table.json``, and a plot as ``table.svg`` and ``table.png``."""
        from msgformer.studies.plots import study_plot

        (self.output / "table.txt").write_text(f"{self.table()}\n", encoding="utf-8")
        (self.output / "table.json").write_text(f"{json.dumps(self.to_dict(), indent=2, default=str)}\n", "utf-8")
        with (self.output / "table.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*asdict(self.rows[0])])
            writer.writeheader()
            for row in self.rows:
                writer.writerow({**asdict(row), "scores": " ".join(f"{score:.4f}" for score in row.scores)})
        plot = study_plot(self.title, [(row.name, row.scores, row.published) for row in self.rows])
        (self.output / f"{plot.name}.svg").write_text(plot.svg, encoding="utf-8")
        (self.output / f"{plot.name}.png").write_bytes(plot.png)

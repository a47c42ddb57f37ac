"""A table of ablations, trained: its rows, and the files that show them."""

from __future__ import annotations

import csv
import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from msgformer.utils.result import Result, text_table


@dataclass(frozen=True)
class StudiedRow:
    """A row of a table, trained.

    Attributes:
        name: What is compared.
        recipe: The recipe that says it all at the published size.
        parameters: Of the model that was trained, without its classifier.
        scores: Top-1 after the last epoch of each seed's run, in percent.
        mean: Their mean.
        spread: Their standard deviation; None of a single run.
        published: Top-1 on ImageNet-1k that was published, in percent.
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
        """A row from its runs' scores."""
        spread = statistics.stdev(scores) if len(scores) > 1 else None
        return cls(name, recipe, parameters, scores, statistics.fmean(scores), spread, published)

    def cells(self) -> tuple[str, str, str, str]:
        """The row as a person reads it."""
        spread = "" if self.spread is None else f" ± {self.spread:.2f}"
        published = "-" if self.published is None else f"{self.published:.1f}"
        return self.name, f"{self.parameters / 1e6:.3f} M", f"{self.mean:.2f}{spread}", published


@dataclass(frozen=True)
class Study(Result):
    """A table of ablations, trained.

    Attributes:
        name: Of the table.
        title: What it is about.
        data: What was trained on.
        small: Whether small models stood for the published ones.
        epochs: Epochs of each run.
        seeds: Runs of each row.
        rows: Its rows, in the published order.
        output: Where the runs, the table and its plot are.
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
        """The rows, beside what was published."""
        header = ("ROW", "PARAMETERS", "TOP-1 %", "PUBLISHED %, IMAGENET")
        size = "small models" if self.small else "models of the published size"
        return (
            f"{self.title}\n{size} on {self.data}, {self.epochs} epochs, {self.seeds} seeds;"
            " mean and standard deviation after the last epoch\n"
            f"{text_table(header, [row.cells() for row in self.rows])}\n"
            f"runs, table and plot: {self.output}"
        )

    def write(self) -> None:
        """Write ``table.txt``, ``table.csv``, ``table.json``, and ``table.svg`` and ``.png``, which show the spread."""
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

"""``msgformer study``: the rows of a paper's table of ablations, trained under one budget on one data set."""

from __future__ import annotations

import csv
import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from msgformer.api.ranges import check_ranges
from msgformer.api.recipes import load_config
from msgformer.api.runs import new_run
from msgformer.api.study_tables import TABLES, TableName
from msgformer.errors import UserError
from msgformer.result import Result, text_table
from msgformer.tasks import DEFAULT_TASK, get_task

PLAN_FILE = "plan.json"
SMALL_BUDGET, SMALL_DATA = "embedded/pairs", "sample:pairs"


@dataclass(frozen=True)
class StudiedRow:
    """A row of a table, trained.

    Attributes:
        name: What is compared.
        recipe: The recipe that says it all at the published size.
        parameters: Of the model that was trained, without its classifier.
        scores: Top-1 after the last epoch of each seed's run, in per cent.
        mean: Their mean.
        spread: Their standard deviation; None of a single run.
        published: Top-1 on ImageNet-1k that was published, in per cent.
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
        from msgformer.insight.study_plots import study_plot

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


def study(
    table: TableName,
    *,
    data: str | Path | None = None,
    seeds: int = 3,
    epochs: int | None = None,
    output: Path | None = None,
    small: bool | None = None,
    budget: str | Path | None = None,
    workers: int | None = None,
) -> Study:
    """Train the rows of a paper's table of ablations under one budget on one data set.

    Each row and seed is a training in a folder of its own. With the output of a study that was stopped, finished
    runs are kept, and an unfinished one goes on. On several GPUs, each trains one run at a time.

    Args:
        table: table4 (messengers and exchange), table5 (what messengers start from), table6 (wide or deep), table7
            (sizes of shuffle regions) of the MSG-Transformer paper, or sgformer.
        data: What to train on, as for 'msgformer train'; by default pairs of embedded digits far apart.
        seeds: Runs of each row; they differ in the weights that they begin with and in the order of images.
        epochs: How often each run sees every training image; by default what the budget or the recipes say.
        output: Folder of the study, new or to go on with; by default the next free one under runs/.
        small: Train small models, for images of 64 x 64, in the place of the published ones; by default where no
            data is given.
        budget: Recipe or YAML file with the settings that all rows share, whose model is not looked at; by default
            embedded/pairs for small models, and otherwise each row's recipe.
        workers: Processes that read images, as for 'msgformer train'.

    Returns:
        The table.

    Raises:
        UserError: something given isn't there or can't be used, or the output is of another study.
    """
    if table not in TABLES:
        raise UserError(f"table must be one of {', '.join(TABLES)}, not {table!r}")
    check_ranges({"seeds": seeds, "epochs": epochs, "workers": workers})
    small = data is None if small is None else small
    if budget is None and small:
        budget = SMALL_BUDGET
    shared = {} if budget is None else load_config(budget)
    plan = {
        "table": table,
        "data": SMALL_DATA if data is None else get_task(DEFAULT_TASK).resolve_data(str(data)),
        "small": small,
        "epochs": epochs,
        "budget": {key: value for key, value in shared.items() if key not in ("model", "model_args", "data")},
    }
    folder = open_study(None if output is None else Path(output), plan)

    from msgformer.api.studying import run_table

    rows, trained = run_table(folder, plan, seeds, workers)
    result = Study(table, TABLES[table].title, str(plan["data"]), small, trained, seeds, rows, folder)
    result.write()
    return result


def open_study(output: Path | None, plan: dict[str, Any]) -> Path:
    """The folder of a new study, or of one to go on with.

    Raises:
        UserError: the folder is of another study or can't be made.
    """
    known = None if output is None else output / PLAN_FILE
    if known is not None and known.is_file():
        before = json.loads(known.read_text(encoding="utf-8"))
        for key, value in plan.items():
            if before.get(key) != value:
                raise UserError(
                    f"output: the study in {output} has {key} {before.get(key)!r}, not {value!r}; go on with the same,"
                    " or give another folder"
                )
        return known.parent
    folder = new_run(output, f"study-{plan['table']}")
    (folder / PLAN_FILE).write_text(json.dumps(plan, indent=2), encoding="utf-8")
    return folder

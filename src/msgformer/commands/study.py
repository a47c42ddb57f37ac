"""``msgformer study``: the rows of a paper's table of ablations, trained under one budget on one data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgformer.config.constraints import check_ranges
from msgformer.config.recipes import load_config
from msgformer.errors import UserError
from msgformer.runs.output_folder import new_run
from msgformer.studies.result import Study
from msgformer.studies.table import TABLES, TableName
from msgformer.tasks import DEFAULT_TASK, get_task

PLAN_FILE = "plan.json"
SMALL_BUDGET, SMALL_DATA = "embedded/pairs", "sample:pairs"


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
        UserError: Something given isn't there or can't be used, or the output is of another study.
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

    from msgformer.commands.train import train
    from msgformer.studies.runner import run_table

    rows, trained = run_table(folder, plan, seeds, workers, train)
    result = Study(table, TABLES[table].title, str(plan["data"]), small, trained, seeds, rows, folder)
    result.write()
    return result


def open_study(output: Path | None, plan: dict[str, Any]) -> Path:
    """The folder of a new study, or of one to go on with.

    Raises:
        UserError: The folder is of another study or can't be made.
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

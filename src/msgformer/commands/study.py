"""``msgformer study``: train an ablation table of a paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgformer.config.constraints import GROUPS, check_ranges
from msgformer.config.recipes import load_config
from msgformer.config.renamed_arguments import use_new_options
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
    """Train the rows of an ablation table of a paper with the same settings on the same data.

    Each row and seed is a run in its own folder. If --output is the folder of an interrupted study, finished runs are
    kept and unfinished ones are resumed. With several GPUs, each GPU trains one run at a time.

    Args:
        table: Table of the MSG-Transformer paper: table4 (messengers and exchange), table5 (initialization of the
            messengers), table6 (wide or deep), table7 (shuffle region sizes); or sgformer.
        data: Training data, as for 'msgformer train'; by default the bundled pairs of digits.
        seeds: Runs per row; they differ in their initial weights and in the order of the images.
        epochs: Epochs per run; by default those of the budget or of the recipes.
        output: Folder of the study, new or of an interrupted one; by default the next free folder in runs/.
        small: Train small models on images of 64 x 64 pixels instead of the published models; by default if no data is
            given.
        budget: Recipe or YAML file with the settings that all rows share (its model is ignored); by default
            embedded/pairs for small models, and otherwise the recipe of each row.
        workers: Processes that load images, as for 'msgformer train'.

    Returns:
        The table with its scores.

    Raises:
        UserError: An argument can't be used, or the output is of another study.
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
    """Create the folder of a new study, or check the folder of an interrupted one.

    Args:
        output: Folder that the user gave; None for the next free one.
        plan: Arguments of the study that must stay the same.

    Returns:
        The folder.

    Raises:
        UserError: The folder is of another study or can't be created.
    """
    plan_file = None if output is None else output / PLAN_FILE
    if plan_file is not None and plan_file.is_file():
        recorded = json.loads(plan_file.read_text(encoding="utf-8"))
        recorded["budget"] = use_new_options(recorded["budget"], GROUPS)  # of an earlier release
        for key, value in plan.items():
            if recorded.get(key) != value:
                raise UserError(
                    f"output: the study in {output} has {key} {recorded.get(key)!r}, not {value!r}; continue with the"
                    " same value, or give another folder"
                )
        return plan_file.parent
    if output is not None and output.is_dir() and any(output.iterdir()):
        raise UserError(f"output: {output} isn't empty and holds no study to continue; pass another --output")
    folder = new_run(output, f"study-{plan['table']}")
    (folder / PLAN_FILE).write_text(json.dumps(plan, indent=2), encoding="utf-8")
    return folder
